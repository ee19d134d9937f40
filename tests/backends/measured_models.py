"""ONNX models of known sizes, made node by node."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from autoshrink.core import Artifact


def perceptron(folder: Path, width: int, depth: int = 1, name: str = "x") -> Artifact:
    """Write a perceptron of 64 inputs, ``depth`` hidden layers of ``width`` and 10 outputs."""
    generator = np.random.default_rng(0)
    sizes = [64, *[width] * depth, 10]
    nodes, weights, value = [], [], name
    for index, (taken, given) in enumerate(itertools.pairwise(sizes)):
        array = (generator.standard_normal((taken, given)) / np.sqrt(taken)).astype(np.float32)
        weights.append(numpy_helper.from_array(array, f"w{index}"))
        last = index == len(sizes) - 2
        nodes.append(helper.make_node("MatMul", [value, f"w{index}"], ["y" if last else f"h{index}"]))
        if not last:
            nodes.append(helper.make_node("Relu", [f"h{index}"], [f"r{index}"]))
            value = f"r{index}"
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 64])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 10])]
    graph = helper.make_graph(nodes, "perceptron", inputs, outputs, weights)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return Artifact(key=f"{width}x{depth}", backend="onnxruntime", files=("model.onnx",), size=path.stat().st_size)
