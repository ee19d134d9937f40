"""Look at a front with the runtime alone: ``python check.py out.json``, after a search with ``--json out.json``.

For each model it prints its accuracy on the test split, as found here and as reported. `data.py` is the user's own.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from data import splits

split = splits()["test"]
images, labels = np.asarray(split[0], np.float32), np.asarray(split[1])


def onnxruntime(file):
    """Open an ONNX file."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file)
    name = session.get_inputs()[0].name
    return lambda image: session.run(None, {name: image})[0]


def litert(file):
    """Open a LiteRT file."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(file)
    interpreter.allocate_tensors()
    taken, given = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def run(image):
        interpreter.set_tensor(taken, image)
        interpreter.invoke()
        return interpreter.get_tensor(given)

    return run


def openvino(file):
    """Open an OpenVINO model."""
    import openvino

    compiled = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda image: compiled([image])[0]


def executorch(file):
    """Open an ExecuTorch program."""
    import torch
    from executorch.runtime import Runtime

    program = Runtime.get().load_program(file)
    forward = program.load_method("forward")
    return lambda image: forward.execute([torch.from_numpy(image)])[0].numpy()


MXNET = """
import sys
import mxnet, numpy
symbol, weights, _ = mxnet.model.load_checkpoint(sys.argv[1], 0)
(name,) = set(symbol.list_arguments()) - set(weights)
model = symbol.bind(mxnet.cpu(), {**weights, name: mxnet.nd.zeros((1, 1, 8, 8))}, grad_req="null")
while image := sys.stdin.buffer.read(4 * 64):
    pixels = numpy.frombuffer(image, numpy.float32).reshape(1, 1, 8, 8)
    scores = model.forward(False, **{name: mxnet.nd.array(pixels)})[0].asnumpy()
    sys.stdout.buffer.write(scores.tobytes())
    sys.stdout.buffer.flush()
"""


def mxnet(file):
    """Open an MXNet symbol in the environment that ``autoshrink doctor --setup mxnet`` made."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "autoshrink"
    python = next(cache.glob("mxnet-*/bin/python"))
    command = [python, "-I", "-W", "ignore", "-c", MXNET, file.removesuffix("-symbol.json")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def run(image):
        process.stdin.write(np.ascontiguousarray(image).tobytes())
        process.stdin.flush()
        return np.frombuffer(process.stdout.read(4 * 10), np.float32)[None]

    return run


def torch_inductor(file):
    """Open a package of PyTorch's compiler."""
    import torch

    model = torch._inductor.aoti_load_package(file)
    return lambda image: model(torch.from_numpy(image)).numpy()


RUNTIMES = {
    ".onnx": onnxruntime,
    ".tflite": litert,
    ".xml": openvino,
    ".pte": executorch,
    ".pt2": torch_inductor,
    ".json": mxnet,
}

for item in json.loads(Path(sys.argv[1]).read_text())["candidates"]:
    if item["state"] == "front":
        file = item["artifact"]["files"][0]
        run = RUNTIMES[Path(file).suffix](file)
        scores = np.concatenate([run(image[None]) for image in images])
        print(f"{item['id']:3}  accuracy {np.mean(scores.argmax(1) == labels):.4f} {item['accuracy']['test']:.4f}")
