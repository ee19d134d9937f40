"""Weight-only integers: stored in 8 or 4 bits, computed in float.

Four-bit matrices that meet few rows at a time become MatMulNBits, which reads them packed: there it is up to 3.7 times
faster than float, and with 64 rows up to 1.4 times slower. Everything else is unpacked when the file is loaded, and
runs as fast as float.

References:
    Frantar et al.: GPTQ (2023), section 4, for round-to-nearest in groups as the baseline that is used here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np
import onnx_ir as ir

from autoshrink.models.onnx.graph import array_of, attribute, constant, drop_unused, replace_node
from autoshrink.models.onnx.integers import quantize_blocks
from autoshrink.models.onnx.layers import Weight, weights_of
from autoshrink.models.onnx.stored import OVERHEAD, store_as_blocks, store_as_half, store_as_int8

__all__ = ["store_in_int4", "store_in_int8"]

_BLOCKS = (16, 32, 64, 128, 256)
_INT8_COMPUTE = 4
"""The accuracy level of MatMulNBits with int8 products inside a block; at level 0 it is slower than float."""
_FEW_ROWS = 4


def store_in_int8(model: ir.Model, per_channel: bool, kept: Collection[ir.Node] = ()) -> dict[str, int]:
    """Store the float weights of a graph in 8 bits, in place, where that is smaller.

    Args:
        model: a graph.
        per_channel: a scale for each output channel, else one for a whole weight.
        kept: layers whose weights are stored as half floats instead.

    Returns:
        How many weights were stored so, by operator.
    """

    def store(item: Weight) -> str | None:
        if item.node not in kept:
            store_as_int8(model.graph, item.value, item.array, item.axis if per_channel else None)
        elif np.abs(item.array).max() <= np.finfo(np.float16).max:
            store_as_half(model.graph, item.value, item.array)
            return "float16"
        return None

    return _each_weight(model, 8, store)


def store_in_int4(
    model: ir.Model, block_size: int, rows: Mapping[ir.Node, int], kept: Collection[ir.Node] = ()
) -> dict[str, int]:
    """Store the float weights of a graph in 4 bits, in place, where that is smaller.

    Args:
        model: a float graph.
        block_size: weights that share a scale, at most.
        rows: how many rows each matrix product has for one example.
        kept: layers whose weights are stored in 8 bits instead, with a scale for each output channel.

    Returns:
        How many weights were stored so, by operator.
    """

    def store(item: Weight) -> str | None:
        if item.node in kept:
            store_as_int8(model.graph, item.value, item.array, item.axis)
            return "int8"
        few = rows.get(item.node, _FEW_ROWS + 1) <= _FEW_ROWS
        if few and block_size in _BLOCKS and len(item.value.uses()) == 1:
            _pack_matmul(model.graph, item, block_size)
            return "MatMulNBits"
        store_as_blocks(model.graph, item.value, item.array, item.axis, block_size)
        return None

    return _each_weight(model, 4, store)


def _each_weight(model: ir.Model, bits: int, store: Callable[[Weight], str | None]) -> dict[str, int]:
    counts: dict[str, int] = {}
    done: set[ir.Value] = set()
    for item in list(weights_of(model.graph)):
        if item.value in done or item.array.size * (32 - bits) // 8 < 2 * OVERHEAD:
            continue
        done.add(item.value)
        kind = store(item) or item.node.op_type
        counts[kind] = counts.get(kind, 0) + 1
    drop_unused(model)
    return dict(sorted(counts.items()))


def _pack_matmul(graph: ir.Graph, weight: Weight, block_size: int) -> None:
    node = weight.node
    rows = weight.array if attribute(node, "transB", 0) else weight.array.T
    outputs, inputs = rows.shape
    blocks = -(-inputs // block_size)
    padded = np.pad(rows, ((0, 0), (0, blocks * block_size - inputs))).reshape(-1, block_size)
    integers, scales = quantize_blocks(np.ascontiguousarray(padded), 4)
    shifted = (integers + 8).astype(np.uint8)
    packed = (shifted[:, 0::2] | shifted[:, 1::2] << 4).reshape(outputs, blocks, block_size // 2)
    operands = [node.inputs[0], constant(graph, packed), constant(graph, scales.astype(np.float32).ravel())]
    if len(node.inputs) > 2:
        bias = array_of(node.inputs[2])
        assert bias is not None
        operands += [None, None, constant(graph, np.array(np.broadcast_to(bias.ravel(), (outputs,))))]
    sizes = {"K": inputs, "N": outputs, "bits": 4, "block_size": block_size, "accuracy_level": _INT8_COMPUTE}
    replace_node(graph, node, ir.node("MatMulNBits", operands, sizes, domain="com.microsoft"))
