"""Weight-only integers: stored in 8 or 4 bits, computed in float.

Four-bit matrices become MatMulNBits, which reads them packed; everything else is unpacked when the file is loaded.

References:
    Frantar et al.: GPTQ (2023), section 4, for round-to-nearest in groups as the baseline that is used here.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from autoshrink.backends.onnxruntime.graph import array_of, attribute, constant, drop_unused, replace_node
from autoshrink.backends.onnxruntime.integers import quantize_blocks
from autoshrink.backends.onnxruntime.layers import Weight, is_plain_matmul, weights_of
from autoshrink.backends.onnxruntime.stored import OVERHEAD, store_as_blocks, store_as_int8
from autoshrink.core import Refusal

__all__ = ["encode_weight_only"]

_BLOCKS = (16, 32, 64, 128, 256)
_INT8_COMPUTE = 4
"""The accuracy level of MatMulNBits that is 2 to 4 times faster than float on a single row; 0 is slower than float."""


def encode_weight_only(model: ir.Model, bits: int, per_channel: bool, block_size: int) -> dict[str, int]:
    """Store the weights of a graph in 8 or 4 bits, in place.

    Args:
        model: a float graph.
        bits: 8, with a scale for each output channel (or for each weight), or 4, with one for each block.
        per_channel: for 8 bits.
        block_size: for 4 bits: weights that share a scale, at most.

    Returns:
        How many weights were stored so, by operator.

    Raises:
        Refusal: no weight would be smaller.
    """
    counts: dict[str, int] = {}
    done: set[ir.Value] = set()
    for weight in list(weights_of(model.graph)):
        packed = bits == 4 and block_size in _BLOCKS and is_plain_matmul(weight.node)
        if weight.value in done or weight.array.size * (32 - bits) // 8 < 2 * OVERHEAD:
            continue
        if packed and len(weight.value.uses()) == 1:
            kind = "MatMulNBits"
            _pack_matmul(model.graph, weight, block_size)
        else:
            kind = weight.node.op_type
            done.add(weight.value)
            if bits == 8:
                store_as_int8(model.graph, weight.value, weight.array, weight.axis if per_channel else None)
            else:
                store_as_blocks(model.graph, weight.value, weight.array, weight.axis, block_size)
        counts[kind] = counts.get(kind, 0) + 1
    if not counts:
        raise Refusal(f"weight-only int{bits} finds no weight that would be stored in less space")
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
