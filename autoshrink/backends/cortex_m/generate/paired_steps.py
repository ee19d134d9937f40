"""Weights and calls of the kernels that take channels in pairs.

Channels go in pairs (a, b), inputs in pairs of taps (one *step*). A step of plain weights is one word: the two halves hold
``256 * b + a`` of one tap each, as 16-bit integers. The sum of inputs times the word's halves is ``256 * B + A``, the sum
of inputs times its even bytes is ``A``: one extraction serves both channels. On cores with the DSP extension SMLAD takes
both taps at once. A step of a codebook is two bytes, one for each channel, with the indices of both taps; a table of 256
words in RAM turns a byte into a pair of weights.

After the steps of a channel pair stand its shifts, biases and factors: 20 bytes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from autoshrink.backends.cortex_m.generate.cores import Kernels
from autoshrink.backends.cortex_m.generate.layers import channel_constants, leads, title, window_fields
from autoshrink.backends.cortex_m.generate.linear import Linear, Window
from autoshrink.backends.cortex_m.generate.packing import Codebook
from autoshrink.backends.cortex_m.generate.steps import Constant, Step

__all__ = ["lines_step", "paired_step"]

_POSITIONS = 4
_STEP = 16  # bytes of inputs for a step of a group: four positions of two bytes, or two of four, times two taps
_TABLE = 1024
_CONSTANTS = 20
_REST = {0: (), 1: ((0, None),), 2: ((0, 1),), 3: ((0, 2), (1, None))}


def paired_step(layer: Linear, given: int, made: int, number: int, kernels: Kernels, book: Codebook | None) -> Step:
    """Make the call for a convolution or fully connected layer."""
    heading, single = title(layer, book), layer.window.pixels == 1
    if single and layer.window.kernel == layer.window.given and not layer.window.padded:
        layer = _flat(layer)
    single = single and layer.window.given == (1, 1) and layer.window.kernel == (1, 1)
    kernel = "as_dense_paired" if single else "as_conv_paired"
    operands = f"&window_{number}, packed_{number}, "
    packed = _packed(layer, book)
    pairs = (layer.channels_out + 1) // 2
    constants = [
        Constant(f"packed_{number}", "uint32_t", packed, weight_bytes=packed.nbytes - _CONSTANTS * pairs),
        Constant(f"window_{number}", "as_window", window_fields(layer)),
    ]
    if book:
        operands += f"codebook_{number}, "
        kernel += "_codebook"
        constants.append(Constant(f"codebook_{number}", "int8_t", book.values, weight_bytes=book.values.nbytes))
    return Step(
        title=heading,
        call=f"{kernel}({operands}{{a}}, {{out}}, {{scratch}});",
        inputs=(given,),
        output=made,
        sources=("as_conv_paired.c", "as_spread.c", "as_block.c", "as_block_dsp.S", "as_dots.S", "as_memory.c"),
        constants=tuple(constants),
        scratch=_scratch(layer, kernels, single=single) + (_TABLE if book else 0),
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
        title=title(layer, book),
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


def _flat(layer: Linear) -> Linear:
    """Take all of the input, in its own order, as the channels of one position."""
    weights = layer.weights.reshape(layer.channels_out, 1, 1, -1)
    return replace(layer, window=Window((1, 1), (1, 1), (1, 1)), channels_in=layer.taps, weights=weights)


def _runs(layer: Linear) -> tuple[int, int]:
    """Give how many runs of neighboring inputs a window has, and the length of each."""
    height, width = layer.window.kernel
    return (height, width * layer.channels_in) if layer.window.dilation[1] == 1 else (height * width, layer.channels_in)


def _pairs(length: int) -> list[tuple[int, int | None]]:
    """Give the pairs of inputs of a run, in the order in which the kernel spreads them."""
    whole = range(0, length - length % 4, 4)
    pairs: list[tuple[int, int | None]] = [pair for i in whole for pair in ((i, i + 2), (i + 1, i + 3))]
    rest = length - length % 4
    return pairs + [(rest + a, None if b is None else rest + b) for a, b in _REST[length % 4]]


def _stepped(layer: Linear, weights: NDArray[np.int32]) -> NDArray[np.int32]:
    """Bring weights (channels, taps) into (channels, steps, 2); taps that are not there are 0."""
    count, length = _runs(layer)
    runs = np.concatenate([weights.reshape(len(weights), count, length), np.zeros((len(weights), count, 1), np.int32)], axis=2)
    order = np.array([(a, length if b is None else b) for a, b in _pairs(length)])
    return runs[:, :, order].reshape(len(weights), -1, 2)


def _packed(layer: Linear, book: Codebook | None) -> NDArray[np.uint32]:
    channels = layer.channels_out
    rows = (book.indices if book else layer.weights).reshape(channels, -1).astype(np.int32)
    if channels % 2:
        rows = np.concatenate([rows, np.zeros_like(rows[:1])])
    stepped = _stepped(layer, rows)
    a, b = stepped[0::2], stepped[1::2]
    if book:
        both = np.stack([a[..., 0] | a[..., 1] << 4, b[..., 0] | b[..., 1] << 4], axis=2).astype(np.uint8)
        flat = both.reshape(len(both), -1)
        words = np.pad(flat, ((0, 0), (0, -flat.shape[1] % 4))).view(np.uint32)
    else:
        words = np.ascontiguousarray(256 * b + a).astype(np.int16).view(np.uint32)[..., 0]
    padding = [0] * (channels % 2)
    shifts = np.array([-shift - 1 for shift in layer.shifts] + padding, np.uint32)
    bias = np.array([2 * int(bias) for bias in layer.bias] + padding, np.int32).view(np.uint32)
    factors = np.array([*layer.multipliers, *padding], np.uint32)
    tail = np.stack([shifts[0::2] | shifts[1::2] << 8, bias[0::2], factors[0::2], bias[1::2], factors[1::2]], axis=1)
    return np.concatenate([words, tail], axis=1).reshape(-1)


def _scratch(layer: Linear, kernels: Kernels, *, single: bool) -> int:
    count, length = _runs(layer)
    steps = count * len(_pairs(length))
    if single:
        return steps * (4 if kernels == "dsp" else 8)
    size = _STEP * steps
    if layer.window.padded:
        size += (1 + _POSITIONS) * length
    return -(-size // 4) * 4
