"""Operators on single int8 values as tables of 256 entries, computed ahead of time as TFLite computes them."""

from __future__ import annotations

import numpy as np

from autoshrink.backends.cortex_m.generate import fixed_point as fp
from autoshrink.backends.cortex_m.generate.fixed_point import Ints
from autoshrink.backends.cortex_m.graph import Activation, Op, Tensor
from autoshrink.core import Refusal

__all__ = ["TABLE_OPS", "clamp_of", "unary_table"]

TABLE_OPS = ("LOGISTIC", "TANH", "HARD_SWISH", "RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU", "QUANTIZE")

_RANGES: dict[str, Activation] = {"RELU": "relu", "RELU_N1_TO_1": "relu_n1_to_1"}


def unary_table(op: Op, given: Tensor, made: Tensor) -> np.ndarray:
    """Tabulate an operator.

    Args:
        op: one of `TABLE_OPS`.
        given: its input, int8.
        made: its output, int8.

    Returns:
        256 int8 values, for the inputs -128…127.

    Raises:
        Refusal: the quantization of the output is not the one that TFLite prescribes for the operator.
    """
    inputs = np.arange(-128, 128, dtype=np.int64)
    centered = inputs - given.zero_point
    if op.kind == "LOGISTIC":
        _fixed_output(op, made, 1 / 256, -128)
        values = _sigmoidal(centered, given.scale, 23, -128, logistic=True)
    elif op.kind == "TANH":
        _fixed_output(op, made, 1 / 128, 0)
        values = _sigmoidal(centered, given.scale, 24, 0, logistic=False)
    elif op.kind == "HARD_SWISH":
        values = _hard_swish(centered, given, made)
    elif op.kind == "LEAKY_RELU":
        values = _leaky_relu(centered, given, made, op.number("alpha"))
    elif op.kind == "RELU6":
        values = _relu6(inputs, given, made)
    else:
        values = _requantized(centered, given, made)
        if op.kind in _RANGES:
            values = np.clip(values, *fp.activation_range(_RANGES[op.kind], made.scale, made.zero_point))
    return np.clip(values, -128, 127).astype(np.int8)


def _fixed_output(op: Op, made: Tensor, scale: float, zero_point: int) -> None:
    if made.scale != scale or made.zero_point != zero_point:
        raise Refusal(
            f"{op.kind} must give the scale {scale} and the zero point {zero_point}, "
            f"not {made.scale:g} and {made.zero_point} ({made.name})"
        )


def _requantized(centered: Ints, given: Tensor, made: Tensor) -> Ints:
    multiplier, shift = fp.quantize_multiplier(given.scale / made.scale)
    return fp.multiply(centered, multiplier, shift) + made.zero_point


def _relu6(inputs: Ints, given: Tensor, made: Tensor) -> Ints:
    # TFLite Micro clamps in the input's quantization and does not rescale.
    if (given.scale, given.zero_point) != (made.scale, made.zero_point):
        raise Refusal(f"RELU6 must keep the quantization of its input ({made.name})")
    return np.clip(inputs, *fp.activation_range("relu6", given.scale, given.zero_point))


def _leaky_relu(centered: Ints, given: Tensor, made: Tensor, alpha: float) -> Ints:
    slope = float(np.float32(alpha))
    positive = fp.quantize_multiplier(given.scale / made.scale)
    negative = fp.quantize_multiplier(given.scale * slope / made.scale) if slope >= 0 else None
    if negative is None:
        raise Refusal(f"LEAKY_RELU has the negative slope {slope:g} ({made.name})")
    scaled = np.where(centered >= 0, fp.multiply(centered, *positive), fp.multiply(centered, *negative))
    return scaled + made.zero_point


def _sigmoidal(centered: Ints, scale: float, exponent: int, zero_point: int, *, logistic: bool) -> Ints:
    integer_bits = 4
    multiplier, shift = fp.quantize_multiplier(scale * 2 ** (31 - integer_bits))
    radius = fp.input_radius(integer_bits, shift)
    inside = np.abs(centered) < radius
    scaled = fp.multiply(np.where(inside, centered, 0), multiplier, shift)
    function = fp.logistic if logistic else fp.tanh
    values = fp.rounding_divide(function(scaled, integer_bits), exponent) + zero_point
    return np.where(inside, values, np.where(centered < 0, -128, 127))


def _hard_swish(centered: Ints, given: Tensor, made: Tensor) -> Ints:
    high_resolution = np.float32(1 / 128) * np.float32(given.scale)
    out_multiplier, out_exponent = _multiplier16(float(high_resolution / np.float32(made.scale)))
    relu_multiplier, relu_exponent = _multiplier16(float(high_resolution / np.float32(3 / 32768)))
    if out_exponent > 0:
        raise Refusal(f"HARD_SWISH has an output scale below 1/128 of its input's ({made.name})")
    value = centered * 128
    unshifted = _high_multiply16(value, out_multiplier)
    gate = value
    if relu_exponent > 0:
        gate = _saturate16(gate << (relu_exponent - 1))
    gate = _high_multiply16(gate, relu_multiplier)
    if relu_exponent > 0:
        gate = _saturate16(gate << 1)
    elif relu_exponent < 0:
        gate = fp.rounding_divide(gate, -relu_exponent)
    gate = (gate + 2**15) >> 1
    product = gate * unshifted
    truncated = np.sign(product) * (np.abs(product) >> 15)
    return fp.rounding_divide(truncated, -out_exponent) + made.zero_point


def _multiplier16(real: float) -> tuple[int, int]:
    multiplier, shift = fp.quantize_multiplier(real)
    return min((multiplier + (1 << 15)) >> 16, 2**15 - 1), shift


def _high_multiply16(a: Ints, b: int) -> Ints:
    product = a * b
    nudged = product + np.where(product >= 0, 1 << 14, 1 - (1 << 14))
    truncated: Ints = np.sign(nudged) * (np.abs(nudged) >> 15)
    return truncated


def _saturate16(a: Ints) -> Ints:
    clipped: Ints = np.clip(a, -(2**15), 2**15 - 1)
    return clipped


def clamp_of(table: np.ndarray) -> tuple[int, int] | None:
    """Give the bounds between which a table only clamps its input, if that is what it does."""
    low, high = int(table.min()), int(table.max())
    same = np.array_equal(table, np.clip(np.arange(-128, 128), low, high))
    return (low, high) if same else None
