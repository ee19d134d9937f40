"""What the calls of all weighted layers share: their constants, their titles, and how outputs may lie over inputs."""

from __future__ import annotations

import numpy as np

from autoshrink.backends.cortex_m.generate.linear import Linear
from autoshrink.backends.cortex_m.generate.packing import Codebook
from autoshrink.backends.cortex_m.generate.steps import Constant, struct

__all__ = ["channel_constants", "leads", "leads_unread", "title", "window_fields"]


def window_fields(layer: Linear) -> str:
    """Write the ``as_window`` of a layer."""
    window = layer.window
    names = ("in", "out", "kernel", "stride", "dilation")
    pairs = (window.given, window.made, window.kernel, window.stride, window.dilation)
    sizes = {f"{name}_{axis}": pair[i] for name, pair in zip(names, pairs, strict=True) for i, axis in enumerate("hw")}
    return struct(
        in_c=layer.channels_in,
        out_c=layer.channels_out,
        **sizes,
        pad_top=window.before[0],
        pad_left=window.before[1],
        border=layer.border,
        zero_point=layer.zero_point,
        low=layer.bounds[0],
        high=layer.bounds[1],
    )


def title(layer: Linear) -> str:
    """Describe a layer in a line."""
    window = layer.window
    kind = "depthwise" if layer.depthwise else "convolution"
    kernel = f"{window.kernel[0]}x{window.kernel[1]} "
    stride = f" stride {window.stride[0]}x{window.stride[1]}" if window.stride != (1, 1) else ""
    if window.given[0] == 1 and window.kernel == (1, 1):
        kind, kernel = "fully connected", ""
    sizes = (
        f"{window.given[0]}x{window.given[1]}x{layer.channels_in} -> "
        f"{window.made[0]}x{window.made[1]}x{layer.channels_out}"
    )
    return f"{kernel}{kind}{stride}, {sizes}"


def leads(layer: Linear) -> dict[int, int | None]:
    """Say how the output may lie over the input, when the inputs of a position are read before it is written."""
    window = layer.window
    if layer.depthwise:
        # A channel is read whole before it is written, and only its own bytes are.
        same = layer.channels_in == layer.channels_out and window.pixels <= window.given[0] * window.given[1]
        return {0: None} if same else {}
    row, furthest, width = window.given[1] * layer.channels_in, 0, window.made[1]
    # Within a row the distance grows or shrinks steadily, but where windows begin to lie inside.
    clipped = min(width - 1, -(-window.before[1] // window.stride[1]))
    for y in range(window.made[0]):
        for x in {0, max(0, clipped - 1), clipped, width - 1}:
            after = y * width + x
            top, left = y * window.stride[0] - window.before[0], x * window.stride[1] - window.before[1]
            # The first input that is still needed is the next position's, or the next row's where this one is clipped.
            needed = min(max(0, top) * row + max(0, left) * layer.channels_in, max(0, top + window.stride[0]) * row)
            furthest = max(furthest, after * layer.channels_out - needed)
    return {0: furthest}


def leads_unread(layer: Linear, group: int) -> dict[int, int | None]:
    """Say the same for a 1x1 convolution that reads a group's inputs where they are while it writes the group."""
    window = layer.window
    last = max(0, window.pixels - group)
    furthest = 0
    for first in {
        *range(0, window.pixels, window.made[1]),
        *range(window.made[1] - 1, window.pixels, window.made[1]),
        last,
    }:
        y, x = divmod(first, window.made[1])
        read = (y * window.stride[0] * window.given[1] + x * window.stride[1]) * layer.channels_in
        furthest = max(furthest, min(first + group, window.pixels) * layer.channels_out - read)
    return {0: furthest}


def channel_constants(layer: Linear, number: int, book: Codebook | None) -> tuple[Constant, ...]:
    """Make the ``as_channels`` of a layer and the arrays that it refers to."""
    weights = book.packed(rows=not layer.depthwise) if book else layer.weights.reshape(-1)
    constants = [
        Constant(f"weights_{number}", "int8_t", weights, weight_bytes=weights.nbytes),
        Constant(f"bias_{number}", "int32_t", layer.bias.astype(np.int32)),
        Constant(f"multiplier_{number}", "int32_t", np.array(layer.multipliers, np.int32)),
        Constant(f"shift_{number}", "int8_t", np.array(layer.shifts, np.int8)),
    ]
    if book:
        constants.append(Constant(f"codebook_{number}", "int8_t", book.values, weight_bytes=book.values.nbytes))
    fields = {"weights": f"weights_{number}", "codebook": f"codebook_{number}" if book else "NULL"}
    fields |= {name: f"{name}_{number}" for name in ("bias", "multiplier", "shift")}
    return (*constants, Constant(f"channels_{number}", "as_channels", struct(**fields)))
