"""Half floats: weights in 16 bits, and arithmetic too where the hardware has it."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from autoshrink.core import Refusal
from autoshrink.models.onnx.graph import array_of, drop_unused
from autoshrink.models.onnx.stored import store_as_half

__all__ = ["compute_in_half", "store_in_half"]

_SMALLEST = 64
"""Elements below which the header that a half float needs takes more than it saves."""


def store_in_half(model: ir.Model) -> tuple[ir.Model, int]:
    """Store float constants in 16 bits, and count them; they are widened when the file is loaded.

    The x86 runtime has no half arithmetic: with half floats inside it casts before and after each layer, which took
    1.3 to 1.5 times as long as this, to the same outputs.

    Raises:
        Refusal: a weight is beyond the range of half floats.
    """
    count = 0
    for value in list(model.graph.initializers.values()):
        array = array_of(value)
        if array is None or array.dtype != np.float32 or array.size < _SMALLEST:
            continue
        _check_range(array)
        store_as_half(model.graph, value, array)
        count += 1
    drop_unused(model)
    return model, count


def compute_in_half(model: ir.Model) -> tuple[ir.Model, int]:
    """Turn weights and arithmetic to 16 bits, keep inputs and outputs in 32, and count the half constants.

    Raises:
        Refusal: a weight is beyond the range of half floats.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    for value in model.graph.initializers.values():
        array = array_of(value)
        if array is not None and array.dtype == np.float32:
            _check_range(array)
    half = ir.from_proto(convert_float_to_float16(ir.to_proto(model), keep_io_types=True))
    arrays = [array_of(value) for value in half.graph.initializers.values()]
    return half, sum(array is not None and array.dtype == np.float16 for array in arrays)


def _check_range(array: np.ndarray) -> None:
    largest = float(np.abs(array).max(initial=0.0))
    if largest > float(np.finfo(np.float16).max):
        raise Refusal(f"float16 can't hold a weight of {largest:.3g}; the largest half float is 65504")
