"""Weights stored small: nodes on constants that the runtime folds into plain floats when it loads the file.

A DequantizeLinear would not be folded but executed each time, which is why none is used here.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from autoshrink.models.onnx.graph import constant, insert_first, replace_uses
from autoshrink.models.onnx.integers import quantize_blocks, quantize_weight, reduced_axes

__all__ = ["OVERHEAD", "store_as_blocks", "store_as_half", "store_as_int8"]

OVERHEAD = 150
"""Bytes that the nodes and headers of one stored weight take, at most."""

_FLOAT = ir.DataType.FLOAT


def store_as_half(graph: ir.Graph, value: ir.Value, array: np.ndarray) -> None:
    """Store a float constant in 16 bits."""
    cast = ir.node("Cast", [constant(graph, array.astype(np.float16))], {"to": _FLOAT})
    _put(graph, value, [cast])


def store_as_int8(graph: ir.Graph, value: ir.Value, array: np.ndarray, axis: int | None) -> None:
    """Store a weight as int8 with a scale for each channel of an axis, or one for all."""
    integers, scale = quantize_weight(array, axis)
    shaped = scale if axis is None else np.expand_dims(scale, reduced_axes(array.ndim, axis))
    cast = ir.node("Cast", [constant(graph, integers)], {"to": _FLOAT})
    _put(graph, value, [cast, ir.node("Mul", [cast.outputs[0], constant(graph, shaped)])])


def store_as_blocks(graph: ir.Graph, value: ir.Value, array: np.ndarray, axis: int, block_size: int) -> None:
    """Store a weight as int4 with a scale for each block of weights of one output channel."""
    order = [axis % array.ndim, *(index for index in range(array.ndim) if index != axis % array.ndim)]
    moved = array.transpose(order)
    rows = moved.reshape(moved.shape[0], -1)
    integers, scales = quantize_blocks(rows.reshape(-1, block_length(rows.shape[1], block_size)), 4)
    cast = ir.node("Cast", [constant(graph, integers, ir.DataType.INT4)], {"to": _FLOAT})
    nodes = [cast]
    scale = constant(graph, scales)
    if scales.dtype == np.float16:
        nodes.append(ir.node("Cast", [scale], {"to": _FLOAT}))
        scale = nodes[-1].outputs[0]
    nodes.append(ir.node("Mul", [cast.outputs[0], scale]))
    shape = constant(graph, np.array(moved.shape, np.int64))
    nodes.append(ir.node("Reshape", [nodes[-1].outputs[0], shape]))
    if axis % array.ndim:
        nodes.append(ir.node("Transpose", [nodes[-1].outputs[0]], {"perm": np.argsort(order).tolist()}))
    _put(graph, value, nodes)


def block_length(row: int, block_size: int) -> int:
    """Give the longest block up to the wished size that divides a row; the row where only short ones do."""
    longest = max(size for size in range(1, min(block_size, row) + 1) if row % size == 0)
    return longest if longest * 4 >= min(block_size, row) else row


def _put(graph: ir.Graph, value: ir.Value, nodes: list[ir.Node]) -> None:
    insert_first(graph, nodes)
    new = set(nodes)
    replace_uses(value, nodes[-1].outputs[0], [user for user, _ in value.uses() if user not in new])
