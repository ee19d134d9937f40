"""Convolutions, depthwise convolutions and fully connected layers in one form that every core's packing starts from."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoshrink.backends.cortex_m.generate.fixed_point import activation_range, quantize_multiplier
from autoshrink.backends.cortex_m.graph import Graph, Op, Tensor
from autoshrink.core import Refusal, SpecError

__all__ = ["Linear", "Window", "linear", "window"]

_LARGEST = 2**15


@dataclass(frozen=True)
class Window:
    """How a kernel slides over an image; sizes as (height, width)."""

    given: tuple[int, int]
    made: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    before: tuple[int, int] = (0, 0)
    """Padding above and to the left."""

    @property
    def pixels(self) -> int:
        """Output positions."""
        return self.made[0] * self.made[1]

    @property
    def padded(self) -> bool:
        """Whether any window reaches over the border."""
        return any(b > 0 or e > 0 for b, e in zip(self.before, self.after, strict=True))

    @property
    def after(self) -> tuple[int, int]:
        """Padding below and to the right that the last windows reach into; negative where they stop short."""
        dims = zip(self.given, self.made, self.kernel, self.stride, self.dilation, self.before, strict=True)
        height, width = ((m - 1) * s + (k - 1) * d + 1 - b - g for g, m, k, s, d, b in dims)
        return height, width


@dataclass(frozen=True, eq=False)
class Linear:
    """A layer that sums weighted int8 inputs in int32, and scales each sum to int8 by its channel's factor.

    With the input's zero point folded into the bias, ``out = clamp(scale(bias + sum(weights * inputs)) + zero_point)``;
    inputs beyond the border have the value ``border``.
    """

    name: str
    window: Window
    channels_in: int
    channels_out: int
    weights: NDArray[np.int8]
    """Shape (channels_out, height, width, channels_in), or (channels_out, height, width) for a depthwise layer."""
    depthwise: bool
    bias: NDArray[np.int64]
    multipliers: tuple[int, ...]
    shifts: tuple[int, ...]
    border: int
    zero_point: int
    bounds: tuple[int, int]

    @property
    def taps(self) -> int:
        """Inputs that one output is made from."""
        return math.prod(self.weights.shape[1:])

    @property
    def macs(self) -> int:
        """Multiplications of one inference."""
        return self.window.pixels * self.channels_out * self.taps

    @property
    def clamped(self) -> bool:
        """Whether the fused activation cuts more than int8 itself does."""
        return self.bounds != (-128, 127)


def window(op: Op, given: Tensor, made: Tensor, kernel: tuple[int, int]) -> Window:
    """Read how an operator slides over its input, and check that the output has the size that follows.

    Raises:
        SpecError: the file contradicts itself.
    """
    for tensor in (given, made):
        if len(tensor.shape) != 4 or tensor.shape[0] != 1:
            raise Refusal(
                f"{op.kind} on the shape {tensor.shape} ({tensor.name!r}); only an image (1, h, w, c) is taken"
            )
    stride = (op.integer("stride_h"), op.integer("stride_w"))
    dilation = (op.integer("dilation_h", 1), op.integer("dilation_w", 1))
    if min(*stride, *dilation, *kernel) < 1:
        raise SpecError(f"{op.kind} {made.name!r} has stride {stride}, dilation {dilation} and kernel {kernel}")
    sizes, before = [], []
    for size, taps, step, gap in zip(given.shape[1:3], kernel, stride, dilation, strict=True):
        span = (taps - 1) * gap + 1
        count = -(-size // step) if op.options["padding"] == "same" else -(-(size - span + 1) // step)
        sizes.append(count)
        before.append(max(0, (count - 1) * step + span - size) // 2 if op.options["padding"] == "same" else 0)
    if tuple(sizes) != made.shape[1:3] or min(sizes) < 1:
        raise SpecError(f"{op.kind} {made.name!r} gives {made.shape[1:3]} where its window gives {tuple(sizes)}")
    _check_sizes(op, made, *given.shape[1:3], *kernel, *stride, *dilation)
    return Window(
        (given.shape[1], given.shape[2]), (sizes[0], sizes[1]), kernel, stride, dilation, (before[0], before[1])
    )


def _check_sizes(op: Op, made: Tensor, *sizes: int) -> None:
    """Refuse sizes of a window or image that the kernels' 16 bits don't hold."""
    if max(sizes) >= _LARGEST:
        raise Refusal(f"{op.kind} {made.name!r} has a side of {max(sizes)}; kernels take less than {_LARGEST}")


def linear(graph: Graph, op: Op) -> Linear:
    """Bring an operator into the common form.

    Raises:
        SpecError: shapes or quantization contradict each other.
        Refusal: the layer has a form that has no kernel.
    """
    given, made = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    if len(op.inputs) < 2 or op.inputs[1] < 0:
        raise SpecError(f"{op.kind} {made.name!r} has no weights")
    filters = graph.tensors[op.inputs[1]]
    bias = graph.tensors[op.inputs[2]] if len(op.inputs) > 2 and op.inputs[2] >= 0 else None
    if filters.data is None:
        raise Refusal(f"{op.kind} {made.name!r} has weights that are computed while running")
    if filters.dtype not in ("int8", "int4") or any(filters.zero_points) or not filters.scales:
        raise Refusal(f"{op.kind} {made.name!r} has weights that are not symmetric int8 or int4")
    weights, sliding, channels_in = _shaped(op, given, filters, made)
    channels = len(weights)
    sums = weights.reshape(channels, -1).sum(axis=1, dtype=np.int64)
    offsets = _bias(op, bias, channels) - given.zero_point * sums
    if np.abs(offsets).max() >= 2**31:
        raise Refusal(f"{op.kind} {made.name!r} has a bias that overflows 32 bits")
    factors = [quantize_multiplier(factor) for factor in _factors(op, given, filters, made, channels)]
    return Linear(
        name=made.name,
        window=sliding,
        channels_in=channels_in,
        channels_out=channels,
        weights=weights,
        depthwise=op.kind == "DEPTHWISE_CONV_2D",
        bias=offsets,
        multipliers=tuple(multiplier for multiplier, _ in factors),
        shifts=tuple(shift for _, shift in factors),
        border=given.zero_point,
        zero_point=made.zero_point,
        bounds=activation_range(op.activation, made.scale, made.zero_point),
    )


def _shaped(op: Op, given: Tensor, filters: Tensor, made: Tensor) -> tuple[NDArray[np.int8], Window, int]:
    data = np.asarray(filters.data, np.int8)
    wrong = SpecError(f"{op.kind} {made.name!r}: weights {filters.shape} don't fit {given.shape} → {made.shape}")
    if op.kind == "FULLY_CONNECTED":
        if data.ndim != 2 or given.size % data.shape[1] or op.integer("format") != 0:
            raise wrong
        rows = given.size // data.shape[1]
        if made.shape[-1:] != data.shape[:1] or made.size != rows * data.shape[0]:
            raise wrong
        _check_sizes(op, made, rows)
        # Each row is a pixel of an image of height 1.
        return data.reshape(data.shape[0], 1, 1, -1), Window((1, rows), (1, rows), (1, 1)), data.shape[1]
    if data.ndim != 4:
        raise wrong
    sliding = window(op, given, made, (data.shape[1], data.shape[2]))
    channels_in, channels_out = given.shape[3], made.shape[3]
    if op.kind == "CONV_2D":
        if data.shape[0] != channels_out:
            raise wrong
        if data.shape[3] != channels_in:
            if channels_in % data.shape[3] == 0:
                raise Refusal(f"CONV_2D {made.name!r} is a grouped convolution, which has no kernel here")
            raise wrong
        return data, sliding, channels_in
    if data.shape[0] != 1 or data.shape[3] != channels_out or channels_out % channels_in:
        raise wrong
    return np.ascontiguousarray(data[0].transpose(2, 0, 1)), sliding, channels_in


def _bias(op: Op, bias: Tensor | None, channels: int) -> NDArray[np.int64]:
    if bias is None:
        return np.zeros(channels, np.int64)
    if bias.data is None or bias.dtype != "int32" or bias.size != channels:
        raise SpecError(f"{op.kind}: bias {bias.name!r} is not {channels} constants of int32")
    return bias.data.reshape(-1).astype(np.int64)


def _factors(op: Op, given: Tensor, filters: Tensor, made: Tensor, channels: int) -> list[float]:
    dimension = 3 if op.kind == "DEPTHWISE_CONV_2D" else 0
    if len(filters.scales) not in (1, channels) or (len(filters.scales) > 1 and filters.axis != dimension):
        raise SpecError(f"{op.kind} {made.name!r} has {len(filters.scales)} scales on dimension {filters.axis}")
    if op.kind == "FULLY_CONNECTED" and len(filters.scales) == 1:
        # TFLite multiplies these two as float32, and all others as double.
        return [float(np.float32(given.scale) * np.float32(filters.scale)) / made.scale] * channels
    scales = filters.scales * (channels // len(filters.scales))
    return [given.scale * scale / made.scale for scale in scales]
