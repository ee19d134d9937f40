"""Generated C code run on this machine, and random networks to run."""

from __future__ import annotations

import ctypes
import functools
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from mcu_networks import Networks, Node

from autoshrink.backends.cortex_m.generate import RUNTIME, Generated, generate
from autoshrink.backends.cortex_m.read_tflite import read_tflite

FLAGS = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-fPIC", "-fsanitize=undefined", "-fno-sanitize-recover=all"]


@functools.cache
def _kernels() -> tuple[tempfile.TemporaryDirectory, Path]:
    """Compile every kernel once for this machine."""
    folder = tempfile.TemporaryDirectory(prefix="kernels-")
    objects = []
    for source in sorted((*RUNTIME.glob("*.c"), *RUNTIME.glob("*.S"))):
        objects.append(Path(folder.name) / f"{source.name}.o")
        subprocess.run(["gcc", *FLAGS, "-c", source, "-o", objects[-1]], check=True)
    library = Path(folder.name) / "kernels.a"
    subprocess.run(["ar", "rc", library, *objects], check=True)
    return folder, library


def on_host(model: bytes, inputs: np.ndarray, core: str, weights: str = "auto") -> tuple[np.ndarray, Generated]:
    """Generate code for a core, compile it for this machine with undefined behavior trapped, and run it."""
    graph = read_tflite(model)
    with tempfile.TemporaryDirectory(prefix="model-") as name:
        folder = Path(name)
        made = generate(graph, folder, core=core, weights=weights)
        library = folder / "model.so"
        sources = [made.sources[0], _kernels()[1]]
        subprocess.run(["gcc", *FLAGS, "-shared", "-I", folder, *sources, "-lubsan", "-o", library], check=True)
        loaded = ctypes.CDLL(str(library))
        outputs = np.zeros((len(inputs), graph.tensors[graph.outputs[0]].size), np.int8)
        assert loaded.model_init() == 0
        for row, out in zip(np.ascontiguousarray(inputs), outputs, strict=True):
            pointers = (array.ctypes.data_as(ctypes.c_void_p) for array in (row, out))
            assert loaded.model_invoke(*pointers) == 0
    return outputs, made


def inputs_for(model: bytes, count: int, seed: int = 0) -> np.ndarray:
    """Draw rows of inputs over the whole int8 range, the extremes among them."""
    graph = read_tflite(model)
    size = graph.tensors[graph.inputs[0]].size
    rows = np.random.default_rng(seed).integers(-128, 128, (count, size)).astype(np.int8)
    rows[0], rows[-1] = -128, 127
    return rows


_PAIRS = st.tuples(st.integers(1, 3), st.integers(1, 3))
_ACTIVATIONS = st.sampled_from(["none", "none", "relu", "relu6", "relu_n1_to_1"])
_KINDS = "conv conv depthwise depthwise dense pool binary unary concat pad mean transpose".split()
_PADDING = st.sampled_from(["same", "valid"])


@st.composite
def networks(draw, layers: int = 3) -> bytes:
    """Draw a network of a few layers with any shapes, strides, paddings and zero points."""
    net = Networks(draw(st.integers(0, 2**32 - 1)))
    shape = (1, draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(st.integers(1, 9)))
    node = net.input(shape)
    kept: list[Node] = [node]
    for _ in range(draw(st.integers(1, layers))):
        node = draw(_layers(net, node, kept))
        kept.append(node)
    return net.finish(node)


@st.composite
def _layers(draw, net: Networks, x: Node, kept: list[Node]) -> Node:
    kind = draw(st.sampled_from(_KINDS))
    if len(x.shape) != 4:
        kind = draw(st.sampled_from(["dense", "unary", "binary"]))
    if kind == "transpose":
        return net.transpose(x, (0, *draw(st.permutations([1, 2, 3]))))
    if kind in ("conv", "depthwise", "pool"):
        kernel, stride, padding = draw(st.tuples(st.integers(1, 4), st.integers(1, 4))), draw(_PAIRS), draw(_PADDING)
        dilation = draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (1, 2), (2, 3)])) if kind != "pool" else (1, 1)
        if min(Networks.sizes(x, kernel, stride, padding, dilation)) < 1:
            padding = "same"
        settings = {"kernel": kernel, "stride": stride, "padding": padding, "activation": draw(_ACTIVATIONS)}
        if kind == "pool":
            return net.pool(x, draw(st.sampled_from(["average", "max"])), **settings)
        settings |= {"per_channel": draw(st.booleans()), "bias": draw(st.booleans()), "dilation": dilation}
        settings["distinct"] = draw(st.sampled_from([0, 0, 3, 16]))
        if kind == "depthwise":
            return net.depthwise(x, multiplier=draw(st.sampled_from([1, 1, 2])), **settings)
        settings |= {"full": draw(st.booleans()), "zeros": draw(st.sampled_from([0, 0.5, 0.9]))}
        return net.conv(x, draw(st.integers(1, 9)), **settings)
    if kind == "dense":
        bits = draw(st.sampled_from([8, 8, 4]))
        per_channel = draw(st.booleans()) and bits == 8
        settings = {"activation": draw(_ACTIVATIONS), "bits": bits, "per_channel": per_channel}
        settings |= {"bias": draw(st.booleans()), "distinct": draw(st.sampled_from([0, 16])) if bits == 8 else 0}
        settings["zeros"] = draw(st.sampled_from([0, 0.5, 0.9]))
        rows = x.shape[1] if len(x.shape) == 4 and draw(st.booleans()) else 1
        return net.dense(x, draw(st.integers(1, 12)), rows=rows, **settings)
    if kind == "binary":
        return draw(_binaries(net, x, kept))
    if kind == "unary":
        names = ["logistic", "tanh", "hard_swish", "relu", "quantize", "leaky_relu", "softmax"]
        return net.unary(draw(st.sampled_from(names)), x)
    if kind == "concat":
        axis = draw(st.integers(1, 3))
        return net.concat([x, x], axis)
    if kind == "pad":
        sides = [(0, 0), *(draw(st.tuples(st.integers(0, 2), st.integers(0, 2))) for _ in range(3))]
        return net.pad(x, sides)
    return net.mean(x, draw(st.sampled_from([(1, 2), (1,), (2,), (3,), (1, 2, 3)])), keep=draw(st.booleans()))


@st.composite
def _binaries(draw, net: Networks, x: Node, kept: list[Node]) -> Node:
    kind = draw(st.sampled_from(["add", "sub", "mul"]))
    same = [node for node in kept if node.shape == x.shape]
    shape = tuple(draw(st.sampled_from([size, 1])) for size in x.shape)
    other = draw(st.sampled_from([net.constant(shape), *same]))
    operands = draw(st.sampled_from([(x, other), (other, x)]))
    return net.binary(kind, *operands, activation=draw(_ACTIVATIONS))
