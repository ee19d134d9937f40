"""The call of a convolution, depthwise convolution or fully connected layer, for the kernels of a core."""

from __future__ import annotations

import numpy as np

from autoshrink.backends.cortex_m.generate.cores import Kernels
from autoshrink.backends.cortex_m.generate.layers import channel_constants, leads, leads_unread, title, window_fields
from autoshrink.backends.cortex_m.generate.linear import Linear
from autoshrink.backends.cortex_m.generate.packing import Codebook, find_codebook
from autoshrink.backends.cortex_m.generate.paired_steps import lines_step, paired_step
from autoshrink.backends.cortex_m.generate.steps import Constant, Step

__all__ = ["linear_step"]

_LARGEST_SHIFT = 22


def linear_step(layer: Linear, given: int, made: int, number: int, kernels: Kernels, *, packed: bool) -> Step:
    """Make the call of the fastest kernels that are exact for a layer.

    Args:
        layer: what to compute.
        given: the tensor that is read.
        made: the tensor that is written.
        number: of the step, for the names of its constants.
        kernels: what the core can run.
        packed: whether weights may be stored in less than a byte each.
    """
    book = find_codebook(layer.weights) if packed else None
    if kernels != "mve" and _exact_by_half(layer):
        if kernels == "dsp" and layer.depthwise and layer.window.dilation == (1, 1):
            return lines_step(layer, given, made, number, book)
        if not layer.depthwise:
            plain = _exact_in_pairs(layer)
            step = paired_step(layer, given, made, number, kernels, plain=plain, packed=packed)
            if step is not None:
                return step
    return _plain_step(layer, given, made, number, kernels, book)


def _plain_step(layer: Linear, given: int, made: int, number: int, kernels: Kernels, book: Codebook | None) -> Step:
    """Make the call of the kernels that take any quantization; those for vectors have the same names."""
    kernel = "as_depthwise" if layer.depthwise else "as_conv"
    function = "as_conv_codebook" if book and not layer.depthwise else kernel
    variants = (f"{kernel}_mve.c",) if kernels == "mve" else ("as_lines_v6m.S",) if layer.depthwise else ()
    lead = leads(layer)
    if layer.depthwise:
        # A plane, decoded weights, sums of a line, and what is read behind the plane and not used.
        scratch = _plane(layer) + 4 * (layer.taps + layer.window.made[1] + 1) + 4 * max(layer.window.stride)
    elif kernels == "mve" and layer.window.kernel == (1, 1) and not layer.window.padded:
        # Scratch is for machines without vectors, which run the portable kernel.
        scratch = layer.taps * (4 if book else 2)
        lead = {0: max(lead[0] or 0, leads_unread(layer, 4)[0] or 0)}
    else:
        scratch = layer.taps * (4 if book or kernels == "mve" else 2)
    return Step(
        title=title(layer) + (", codebook" if book else ""),
        call=f"{function}(&window_{number}, &channels_{number}, {{a}}, {{out}}, {{scratch}});",
        inputs=(given,),
        output=made,
        sources=(f"{kernel}.c", *variants, "as_memory.c"),
        constants=(
            *channel_constants(layer, number, book),
            Constant(f"window_{number}", "as_window", window_fields(layer)),
        ),
        scratch=scratch,
        leads=lead,
        macs=layer.macs,
    )


def _exact_by_half(layer: Linear) -> bool:
    """Whether twice a sum and its scaled value with the rounding fit into 32 bits, as the quicker kernels need it."""
    sums = 128 * np.abs(layer.weights.astype(np.int64)).reshape(layer.channels_out, -1).sum(axis=1)
    small = (sums + np.abs(layer.bias)).max() < 2**30
    return bool(small) and all(1 <= -shift <= _LARGEST_SHIFT for shift in layer.shifts)


def _exact_in_pairs(layer: Linear) -> bool:
    """Whether two channels' weights fit into 16 bits as 256 b + a, and b's sum into the 24 bits that are left."""
    rows = layer.weights.reshape(layer.channels_out, layer.taps).astype(np.int64)
    low, high = rows[0::2], rows[1::2]
    fits = not ((high == -128) & (low[: len(high)] < 0)).any()
    return fits and bool((128 * np.abs(high).sum(axis=1) < 2**23).all())


def _plane(layer: Linear) -> int:
    window = layer.window
    height, width = (
        (made - 1) * stride + (kernel - 1) * dilation + 1
        for made, stride, kernel, dilation in zip(
            window.made, window.stride, window.kernel, window.dilation, strict=True
        )
    )
    return height * width
