"""The weights that a file holds, read back as the numbers that the runtime computes with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from autoshrink.core import Refusal, SpecError
from autoshrink.models.onnx.check import check_file, load_model
from autoshrink.models.onnx.sessions import open_session

__all__ = ["read_weights"]


def read_weights(path: Path) -> list[np.ndarray]:
    """Read every constant matrix or tensor of real numbers that a node of a file takes.

    What is stored small, as integers with scales, blocks or a codebook, is unpacked by the runtime itself.

    Raises:
        Refusal: it is no ONNX file, is damaged, or the runtime does not take it.
    """
    try:
        check_file(path)
        model = load_model(path)
    except SpecError as error:
        raise Refusal(str(error)) from None
    graph = model.graph
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    unpacking: list[onnx.NodeProto] = []
    unpacked: list[str] = []
    taken: dict[str, None] = {}
    packed: list[np.ndarray] = []
    for node in graph.node:
        if all(name in known or name in unpacked or not name for name in node.input):
            unpacking.append(node)
            unpacked += node.output
        elif node.op_type in _PACKED:
            packed.append(_PACKED[node.op_type](node, known))
        else:
            taken |= dict.fromkeys(name for name in node.input if name in known or name in unpacked)
    computed = [name for name in taken if name in unpacked]
    if computed:
        del graph.node[:], graph.input[:], graph.output[:], graph.value_info[:]
        graph.node.extend(unpacking)
        graph.output.extend(onnx.ValueInfoProto(name=name) for name in computed)
        known |= dict(zip(computed, open_session(model.SerializeToString()).run(computed, {}), strict=True))
    found = [known[name] for name in taken]
    return [*(array for array in found if array.ndim >= 2 and array.dtype.kind == "f"), *packed]


def _blocks(node: onnx.NodeProto, known: Mapping[str, np.ndarray]) -> np.ndarray:
    """Unpack MatMulNBits: two 4-bit integers to a byte, shape (outputs, blocks, bytes); 8 stands for zero."""
    sizes = {item.name: item.i for item in node.attribute}
    bytes_, scales = known[node.input[1]], known[node.input[2]]
    integers = np.stack([bytes_ & 15, bytes_ >> 4], axis=-1).reshape(*bytes_.shape[:2], -1).astype(np.float32) - 8
    real = integers * scales.reshape(*bytes_.shape[:2], 1)
    rows: np.ndarray = real.reshape(len(bytes_), -1)[:, : sizes["K"]]
    return rows


def _columns(node: onnx.NodeProto, known: Mapping[str, np.ndarray]) -> np.ndarray:
    """Unpack DynamicQuantizeMatMul: int8 columns with a scale each, or one for all."""
    real: np.ndarray = known[node.input[1]].astype(np.float32) * known[node.input[2]]
    return real


_PACKED = {"MatMulNBits": _blocks, "DynamicQuantizeMatMul": _columns}
