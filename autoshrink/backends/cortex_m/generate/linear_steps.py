"""The call of a convolution, depthwise convolution or fully connected layer, for the kernels of a core."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from autoshrink.backends.cortex_m.generate.linear import Linear
from autoshrink.backends.cortex_m.generate.packing import Codebook, find_codebook
from autoshrink.backends.cortex_m.generate.steps import Constant, Step, struct

__all__ = ["channel_constants", "leads", "linear_step", "mve_step", "title", "window_fields"]

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


def linear_step(layer: Linear, given: int, made: int, number: int, *, codebooks: bool) -> Step:
    """Make the call of the kernels for any core."""
    book = find_codebook(layer.weights) if codebooks else None
    kernel = "as_depthwise" if layer.depthwise else "as_conv"
    return Step(
        title=title(layer, book),
        call=f"{kernel}(&window_{number}, &channels_{number}, {{a}}, {{out}}, {{scratch}});",
        inputs=(given,),
        output=made,
        sources=(f"{kernel}.c", "as_memory.c"),
        constants=(*channel_constants(layer, number, book), Constant(f"window_{number}", "as_window", window_fields(layer))),
        scratch=_plane(layer) if layer.depthwise else layer.taps * (4 if book else 2),
        leads=leads(layer, 2),
        macs=layer.macs,
    )


def mve_step(layer: Linear, given: int, made: int, number: int, *, codebooks: bool) -> Step:
    """Make the call of the kernels for the vector extension; other machines run the portable ones in their stead."""
    step = linear_step(layer, given, made, number, codebooks=codebooks)
    kernel = step.sources[0].removesuffix(".c")
    window, positions = layer.window, 4
    direct = window.kernel == (1, 1) and not any(window.before)
    own = _plane(layer) + 4 * layer.taps + 4 * max(window.stride) if layer.depthwise else 0 if direct else positions * layer.taps
    # Where inputs are read in place, the first position is still needed when the last one is written.
    moved = {slot: lead + (positions * layer.channels_in if direct else 0) for slot, lead in leads(layer, positions).items() if lead is not None}
    return replace(
        step,
        sources=(*step.sources, f"{kernel}_mve.c"),
        scratch=max(step.scratch, own),
        leads=step.leads if layer.depthwise else moved,
    )


def title(layer: Linear, book: Codebook | None) -> str:
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
    stored = f", codebook of {len(book.values)}" if book else ""
    return f"{kernel}{kind}{stride}, {sizes}{stored}"


def leads(layer: Linear, group: int) -> dict[int, int | None]:
    """Say how the output may lie over the input, when groups of pixels are read whole before they are written."""
    window = layer.window
    if layer.depthwise:
        # A channel is read whole before it is written, and only its own bytes are.
        same = layer.channels_in == layer.channels_out and window.pixels <= window.given[0] * window.given[1]
        return {0: None} if same else {}
    row, furthest = window.given[1] * layer.channels_in, 0
    for after in range(group, window.pixels, group):
        y, x = divmod(after, window.made[1])
        top, left = y * window.stride[0] - window.before[0], x * window.stride[1] - window.before[1]
        # The first input that is still needed belongs to the next pixel, or to the next row where this one is clipped.
        needed = min(max(0, top) * row + max(0, left) * layer.channels_in, max(0, top + window.stride[0]) * row)
        furthest = max(furthest, after * layer.channels_out - needed)
    return {0: furthest}


def _plane(layer: Linear) -> int:
    window = layer.window
    height, width = (
        (made - 1) * stride + (kernel - 1) * dilation + 1
        for made, stride, kernel, dilation in zip(window.made, window.stride, window.kernel, window.dilation, strict=True)
    )
    return height * width


def channel_constants(layer: Linear, number: int, book: Codebook | None) -> tuple[Constant, ...]:
    """Make the ``as_channels`` of a layer and the arrays that it refers to."""
    weights = Constant(f"weights_{number}", "int8_t", book.packed if book else layer.weights.reshape(-1), weights=True)
    constants = [
        weights,
        Constant(f"bias_{number}", "int32_t", layer.bias.astype(np.int32)),
        Constant(f"multiplier_{number}", "int32_t", np.array(layer.multipliers, np.int32)),
        Constant(f"shift_{number}", "int8_t", np.array(layer.shifts, np.int8)),
    ]
    if book:
        constants.append(Constant(f"codebook_{number}", "int8_t", book.values, weights=True))
    fields = {"weights": f"weights_{number}", "codebook": f"codebook_{number}" if book else "NULL"}
    fields |= {name: f"{name}_{number}" for name in ("bias", "multiplier", "shift")}
    return (*constants, Constant(f"channels_{number}", "as_channels", struct(**fields)))
