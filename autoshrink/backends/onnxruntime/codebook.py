"""Codebooks: weights with few distinct values are stored as indices and the values, without loss.

The runtime looks the indices up when it loads the file, so that the model runs as fast as from a dense file.

References:
    Han, Mao, Dally: Deep Compression (2016), section 3.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from autoshrink.models.onnx.graph import array_of, constant, drop_unused, insert_first, replace_uses
from autoshrink.models.onnx.stored import OVERHEAD

__all__ = ["MOST_ENTRIES", "store_codebooks"]

MOST_ENTRIES = 256
_NIBBLE = 16
_VIEWS = {np.dtype(np.float32): np.uint32, np.dtype(np.int8): np.uint8}


def store_codebooks(model: ir.Model, entries: int) -> int:
    """Replace each constant of few distinct values by indices and a codebook where that is smaller, in place.

    Args:
        model: a graph, with weights in float32 or int8.
        entries: the most distinct values, up to 256; up to 16 are indexed with 4 bits, more with 8.

    Returns:
        How many constants are stored so.
    """
    count = 0
    for value in list(model.graph.initializers.values()):
        array = array_of(value)
        if array is None or array.dtype not in _VIEWS or array.size < OVERHEAD:
            continue
        # Compared by their bits: -0.0 stays -0.0.
        values, indices = np.unique(array.view(_VIEWS[array.dtype]), return_inverse=True)
        width = 4 if len(values) <= _NIBBLE else 8
        stored = array.size * width // 8 + values.nbytes + OVERHEAD
        if len(values) <= min(entries, MOST_ENTRIES) and stored < array.nbytes:
            packed = ir.DataType.UINT4 if width == 4 else ir.DataType.UINT8
            _store(model.graph, value, values.view(array.dtype), indices.reshape(array.shape), packed)
            count += 1
    drop_unused(model)
    return count


def _store(graph: ir.Graph, value: ir.Value, values: np.ndarray, indices: np.ndarray, packed: ir.DataType) -> None:
    widened = ir.node("Cast", [constant(graph, indices.astype(np.uint8), packed)], {"to": ir.DataType.INT32})
    looked_up = ir.node("Gather", [constant(graph, values), widened.outputs[0]])
    insert_first(graph, [widened, looked_up])
    replace_uses(value, looked_up.outputs[0])
