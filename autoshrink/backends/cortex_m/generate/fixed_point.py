"""TFLite's fixed-point arithmetic, bit for bit, on the host: what the generator computes ahead of time.

Functions on arrays take and give int64 that hold int32 values.

References:
    Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", 2018.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from autoshrink.backends.cortex_m.graph import Activation
from autoshrink.core import Refusal

__all__ = [
    "Ints",
    "activation_range",
    "exp_on_negative_values",
    "input_radius",
    "logistic",
    "multiply",
    "quantize_multiplier",
    "rounding_divide",
    "rounding_high_multiply",
    "tanh",
]

Ints = NDArray[np.int64]
_ONE = 2**31 - 1


def quantize_multiplier(real: float) -> tuple[int, int]:
    """Write a factor ≥ 0 as ``multiplier / 2**31 * 2**shift`` with a multiplier in [2**30, 2**31), or (0, 0).

    Raises:
        Refusal: it is 2**31 or more.
    """
    if real == 0.0:
        return 0, 0
    fraction, shift = math.frexp(real)
    multiplier = _round_half_away(fraction * 2**31)
    if multiplier == 2**31:
        multiplier, shift = multiplier // 2, shift + 1
    if shift > 31:
        raise Refusal(f"two scales differ by a factor of {real:.3g}, which no kernel computes")
    return (0, 0) if shift < -31 else (multiplier, shift)


def rounding_high_multiply(a: Ints, b: Ints | int) -> Ints:
    """Compute a·b / 2**31, rounded to nearest (halves up), saturated where both are -2**31."""
    product: Ints = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    rounded: Ints = np.minimum((product + 2**30) >> 31, _ONE)
    return rounded


def rounding_divide(a: Ints, exponent: int) -> Ints:
    """Compute a / 2**exponent, rounded to nearest (halves away from zero)."""
    if exponent == 0:
        return np.asarray(a, np.int64)
    return (a + (1 << (exponent - 1)) + (a >> 63)) >> exponent


def multiply(a: Ints, multiplier: int, shift: int) -> Ints:
    """Scale int32 values by ``multiplier / 2**31 * 2**shift``."""
    shifted = _wrap(np.asarray(a, np.int64) << max(shift, 0))
    return rounding_divide(rounding_high_multiply(shifted, multiplier), max(-shift, 0))


def activation_range(activation: Activation, scale: float, zero_point: int) -> tuple[int, int]:
    """Give the int8 values between which a fused activation function keeps its output."""

    def quantized(value: float) -> int:
        return zero_point + _round_half_away(float(np.float32(value) / np.float32(scale)))

    low, high = -128, 127
    if activation in ("relu", "relu6"):
        low = max(low, quantized(0.0))
    if activation == "relu6":
        high = min(high, quantized(6.0))
    if activation == "relu_n1_to_1":
        low, high = max(low, quantized(-1.0)), min(high, quantized(1.0))
    return low, high


def input_radius(integer_bits: int, shift: int) -> int:
    """Give the largest input of a fixed-point function with so many integer bits before it saturates."""
    return math.floor(((1 << integer_bits) - 1) * 2.0 ** (31 - integer_bits - shift))


def exp_on_negative_values(a: Ints, integer_bits: int) -> Ints:
    """Compute exp(a) in Q0.31 for a ≤ 0 with ``integer_bits`` integer bits."""
    fractional = 31 - integer_bits
    quarter = 1 << (fractional - 2)
    low = (a & (quarter - 1)) - quarter
    result = _exp_between_minus_quarter_and_0(_rescale(low, integer_bits))
    remainder = low - a
    factors = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
    for exponent, factor in zip(range(-2, 5), factors, strict=True):
        if integer_bits > exponent:
            taken = (remainder & (1 << (fractional + exponent))) != 0
            result = np.where(taken, rounding_high_multiply(result, factor), result)
    return np.where(a == 0, _ONE, result)


def logistic(a: Ints, integer_bits: int) -> Ints:
    """Compute 1 / (1 + exp(-a)) in Q0.31."""
    exp = exp_on_negative_values(-np.abs(a), integer_bits)
    positive = _saturating_shift(_reciprocal_of_half_denominator(exp), 1)
    return np.where(a == 0, 1 << 30, np.where(a > 0, positive, _ONE - positive))


def tanh(a: Ints, integer_bits: int) -> Ints:
    """Compute the hyperbolic tangent in Q0.31."""
    exp = exp_on_negative_values(-np.abs(a), integer_bits + 1)
    positive = _saturating_shift(_reciprocal_of_half_denominator(exp) - (1 << 29), 2)
    return np.where(a == 0, 0, np.where(a > 0, positive, -positive))


def _exp_between_minus_quarter_and_0(a: Ints) -> Ints:
    constant, third = 1895147668, 715827883  # exp(-1/8), 1/3
    x = a + (1 << 28)
    x2 = rounding_high_multiply(x, x)
    x3 = rounding_high_multiply(x2, x)
    x4 = rounding_high_multiply(x2, x2)
    series = rounding_high_multiply(rounding_divide(x4, 2) + x3, third) + x2
    return constant + rounding_high_multiply(x + rounding_divide(series, 1), constant)


def _reciprocal_of_half_denominator(a: Ints) -> Ints:
    # 2 / (1 + a) in Q2.29 for a in [0, 1), by three Newton-Raphson steps.
    half = (a + _ONE + 1) // 2
    x = 1515870810 + rounding_high_multiply(half, -1010580540)  # 48/17 - 32/17 d
    for _ in range(3):
        error = (1 << 29) - rounding_high_multiply(half, x)
        x = x + _saturating_shift(rounding_high_multiply(x, error), 2)
    return x


def _rescale(a: Ints, integer_bits: int) -> Ints:
    return _saturating_shift(a, integer_bits)


def _saturating_shift(a: Ints, exponent: int) -> Ints:
    clipped: Ints = np.clip(a << exponent, -(2**31), _ONE)
    return clipped


def _wrap(a: Ints) -> Ints:
    return ((a + 2**31) & (2**32 - 1)) - 2**31


def _round_half_away(value: float) -> int:
    return math.floor(abs(value) + 0.5) * (1 if value >= 0 else -1)
