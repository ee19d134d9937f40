"""Which nodes have weights, where they are, and how they are laid out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from autoshrink.models.onnx.graph import array_of, attribute

__all__ = ["Weight", "is_plain_matmul", "weight_axis", "weights_of"]

_POSITIONS = {
    "Conv": (1,),
    "ConvTranspose": (1,),
    "Gather": (0,),
    "Gemm": (1,),
    "GRU": (1, 2),
    "LSTM": (1, 2),
    "MatMul": (1,),
    "RNN": (1, 2),
}
_CHANNELS = {"Conv": 0, "Gather": 0, "MatMul": -1}
_STANDARD = ("", "ai.onnx")


@dataclass(frozen=True)
class Weight:
    """A constant float matrix or tensor that a node multiplies with, or looks up in."""

    node: ir.Node
    position: int
    value: ir.Value
    array: np.ndarray

    @property
    def axis(self) -> int:
        """The axis of the output channels."""
        return weight_axis(self.node)


def weights_of(graph: ir.Graph) -> Iterator[Weight]:
    """Find the float weights of a graph's nodes; one that several nodes use is given for each."""
    for node in graph:
        for position in _POSITIONS.get(node.op_type, ()) if node.domain in _STANDARD else ():
            value = node.inputs[position]
            array = array_of(value)
            if value is not None and array is not None and array.dtype == np.float32 and array.ndim >= 2:
                yield Weight(node, position, value, array)


def weight_axis(node: ir.Node) -> int:
    """Name the axis of a node's output channels in its weight."""
    if node.op_type == "Gemm":
        return 0 if attribute(node, "transB", 0) else 1
    return _CHANNELS.get(node.op_type, 1)


def is_plain_matmul(node: ir.Node) -> bool:
    """Whether a node is a product of a value with a constant matrix, and nothing but a constant bias is added."""
    if node.op_type not in ("Gemm", "MatMul") or node.domain not in _STANDARD or array_of(node.inputs[0]) is not None:
        return False
    weight, *bias = [array_of(value) for value in node.inputs[1:]]
    if weight is None or weight.dtype != np.float32 or weight.ndim != 2 or any(item is None for item in bias):
        return False
    plain = attribute(node, "alpha", 1.0) == 1.0 and attribute(node, "beta", 1.0) == 1.0
    return plain and not attribute(node, "transA", 0)
