"""Calls of the kernels that take channels in pairs, and of the depthwise kernel for the DSP extension."""

from __future__ import annotations

from dataclasses import replace

from autoshrink.backends.cortex_m.generate.cores import Kernels
from autoshrink.backends.cortex_m.generate.layers import channel_constants, leads, title, window_fields
from autoshrink.backends.cortex_m.generate.linear import Linear, Window
from autoshrink.backends.cortex_m.generate.packing import Codebook, find_codebook
from autoshrink.backends.cortex_m.generate.paired_weights import (
    PairedWeights,
    pack_codebook,
    pack_plain,
    pack_sparse,
    runs,
    steps_of,
)
from autoshrink.backends.cortex_m.generate.steps import Constant, Step

__all__ = ["lines_step", "paired_step"]

_POSITIONS = 4
_STEP = 16  # bytes of inputs for a step of a group: four positions of two bytes, or two of four, times two taps
_TABLE = 1024
_LONGEST_ROW = 2**15
# Instructions for a stored step of a channel relative to plain weights: for groups of positions, and for single ones.
_CODEBOOK_COST: dict[Kernels, tuple[float, float]] = {"dsp": (1.33, 1.67), "scalar": (1.3, 1.4)}
_SPARSE_COST: dict[Kernels, tuple[float, float]] = {"dsp": (1.8, 3.5), "scalar": (2.2, 2.5)}
_TABLE_COST: dict[Kernels, float] = {"dsp": 800, "scalar": 500}  # products of plain weights in the time of a table
_SOURCES = ("as_conv_paired.c", "as_spread.c", "as_block.c", "as_block_dsp.S", "as_dots.S", "as_memory.c")


def paired_step(
    layer: Linear, given: int, made: int, number: int, kernels: Kernels, *, plain: bool, packed: bool
) -> Step | None:
    """Make the call for a convolution or fully connected layer.

    Args:
        layer: what to compute.
        given: the tensor that is read.
        made: the tensor that is written.
        number: of the step.
        kernels: what the core can run.
        plain: whether the kernel for plain weights is exact.
        packed: whether weights may be stored in less than a byte each.

    Returns:
        The call; nothing if no form of the weights is possible.
    """
    single = layer.window.pixels == 1
    heading = title(layer)
    if layer.window.kernel == (1, 1) and layer.window.stride == (1, 1) and not layer.window.padded:
        layer = _in_a_row(layer)
    if single and layer.window.kernel == layer.window.given and not layer.window.padded:
        layer = _flat(layer)
    single = single and layer.window.given == (1, 1) and layer.window.kernel == (1, 1)
    found = _form(layer, kernels, plain=plain, packed=packed)
    if found is None:
        return None
    form, weights, book = found
    kernel = ("as_dense_paired" if single else "as_conv_paired") + (f"_{form}" if form else "")
    constants = [
        Constant(f"packed_{number}", "uint32_t", weights.words, weight_bytes=weights.weight_bytes),
        Constant(f"window_{number}", "as_window", window_fields(layer)),
    ]
    operands = f"&window_{number}, packed_{number}, "
    if book is not None:
        operands += f"codebook_{number}, "
        constants.append(Constant(f"codebook_{number}", "int8_t", book.values, weight_bytes=book.values.nbytes))
        heading += ", codebook"
    elif form:
        heading += f", {weights.density:.0%} of the weights' pairs"
    return Step(
        title=heading,
        call=f"{kernel}({operands}{{a}}, {{out}}, {{scratch}});",
        inputs=(given,),
        output=made,
        sources=_SOURCES,
        constants=tuple(constants),
        scratch=_scratch(layer, kernels, single=single) + (_TABLE if book is not None else 0),
        leads=leads(layer),
        macs=layer.macs,
    )


def lines_step(layer: Linear, given: int, made: int, number: int, book: Codebook | None) -> Step:
    """Make the call for a depthwise convolution that goes along lines of a channel's plane."""
    window = layer.window
    along, across = (0, 1) if window.made[0] > window.made[1] else (1, 0)
    needed = [(m - 1) * s + k for m, s, k in zip(window.made, window.stride, window.kernel, strict=True)]
    pairs = window.kernel[across] * ((window.kernel[along] + 1) // 2)
    plane = needed[across] * ((needed[along] + 4) // 2 * 2)
    return Step(
        title=title(layer) + (", codebook" if book else ""),
        call=f"as_depthwise_dsp(&window_{number}, &channels_{number}, {{a}}, {{out}}, {{scratch}});",
        inputs=(given,),
        output=made,
        sources=("as_depthwise_dsp.c", "as_lines_dsp.S", "as_memory.c"),
        constants=(
            *channel_constants(layer, number, book),
            Constant(f"window_{number}", "as_window", window_fields(layer)),
        ),
        scratch=4 * max(pairs, 6) + 2 * plane + (layer.taps if book else 0),
        leads=leads(layer),
        macs=layer.macs,
    )


def _form(
    layer: Linear, kernels: Kernels, *, plain: bool, packed: bool
) -> tuple[str, PairedWeights, Codebook | None] | None:
    """Choose the form of the weights with the least product of flash and instructions."""
    forms: list[tuple[float, str, PairedWeights, Codebook | None]] = []
    if plain:
        weights = pack_plain(layer)
        forms.append((weights.weight_bytes, "", weights, None))
    single = int(layer.window.pixels == 1)
    book = find_codebook(layer.weights) if packed else None
    if book is not None:
        weights = pack_codebook(layer, book)
        instructions = _CODEBOOK_COST[kernels][single] + _TABLE_COST[kernels] / layer.macs
        forms.append((weights.weight_bytes * instructions, "codebook", weights, book))
    if packed and (layer.weights == 0).any():
        weights = pack_sparse(layer)
        instructions = weights.density * _SPARSE_COST[kernels][single]
        forms.append((weights.weight_bytes * instructions, "sparse", weights, None))
    return min(forms, key=lambda form: form[0])[1:] if forms else None


def _in_a_row(layer: Linear) -> Linear:
    """Take positions that only see themselves as an image of height 1, in which groups of them never cross a row."""
    side = (1, layer.window.pixels)
    return replace(layer, window=Window(side, side, (1, 1))) if side[1] < _LONGEST_ROW else layer


def _flat(layer: Linear) -> Linear:
    """Take all of the input, in its own order, as the channels of one position."""
    weights = layer.weights.reshape(layer.channels_out, 1, 1, -1)
    return replace(layer, window=Window((1, 1), (1, 1), (1, 1)), channels_in=layer.taps, weights=weights)


def _scratch(layer: Linear, kernels: Kernels, *, single: bool) -> int:
    steps = steps_of(layer)
    if single:
        return steps * (4 if kernels == "dsp" else 8)
    size = _STEP * steps
    if layer.window.padded:
        size += (1 + _POSITIONS) * runs(layer)[1]
    return -(-size // 4) * 4
