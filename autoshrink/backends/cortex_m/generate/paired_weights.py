"""Weights as the kernels that take channels in pairs read them: plain, from a codebook, or without their zeros.

Inputs go in pairs of taps (one *step*); the order of the taps is the one in which `as_spread.c` lays out inputs.

Plain weights: channels go in pairs (a, b), and a step of both is one word, whose halves hold ``256 * b + a`` of one
tap each, as 16-bit integers. The sum of inputs times the halves is ``256 * B + A``, the sum of inputs times the even
bytes is ``A``: one extraction serves both channels. On cores with the DSP extension SMLAD takes both taps at once.

Codebook: a step of a channel pair is two bytes, one for each channel, with the 4-bit indices of both taps; a table of
256 words in RAM turns a byte into a pair of weights.

Both have after the steps of a channel pair its shifts, biases and factors, 20 bytes.

Sparse: each channel has its number of entries, shift, bias and factor, 12 bytes; then for each step that is not zero an
entry of three bytes: a weight, how many steps to go on from the last entry, a weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoshrink.backends.cortex_m.generate.linear import Linear
from autoshrink.backends.cortex_m.generate.packing import Codebook

__all__ = ["PairedWeights", "pack_codebook", "pack_plain", "pack_sparse", "runs", "steps_of"]

_REST = {0: (), 1: ((0, None),), 2: ((0, 1),), 3: ((0, 2), (1, None))}
_PAIR_CONSTANTS, _CHANNEL_CONSTANTS = 20, 12
_ENTRY, _FURTHEST = 3, 255


@dataclass(frozen=True, eq=False)
class PairedWeights:
    """Words for a kernel, and how many of their bytes are weights rather than biases and factors."""

    words: NDArray[np.uint32]
    weight_bytes: int
    density: float = 1.0
    """The fraction of steps that are stored."""


def runs(layer: Linear) -> tuple[int, int]:
    """Give how many runs of neighboring inputs a window has, and the length of each."""
    height, width = layer.window.kernel
    return (height, width * layer.channels_in) if layer.window.dilation[1] == 1 else (height * width, layer.channels_in)


def steps_of(layer: Linear) -> int:
    """Give the number of steps of one output."""
    count, length = runs(layer)
    return count * ((length + 1) // 2)


def pack_plain(layer: Linear) -> PairedWeights:
    """Pack one word for each step of a channel pair."""
    a, b = _channel_pairs(layer, layer.weights)
    words = np.ascontiguousarray(256 * b + a).astype(np.int16).view(np.uint32)[..., 0]
    return _with_pair_constants(layer, words)


def pack_codebook(layer: Linear, book: Codebook) -> PairedWeights:
    """Pack two bytes of indices for each step of a channel pair."""
    a, b = _channel_pairs(layer, book.indices)
    both = np.stack([a[..., 0] | a[..., 1] << 4, b[..., 0] | b[..., 1] << 4], axis=2).astype(np.uint8)
    flat = both.reshape(len(both), -1)
    return _with_pair_constants(layer, np.pad(flat, ((0, 0), (0, -flat.shape[1] % 4))).view(np.uint32))


def pack_sparse(layer: Linear) -> PairedWeights:
    """Pack three bytes for each step of a channel with a weight that is not zero."""
    stepped = _stepped(layer, layer.weights.reshape(layer.channels_out, -1).astype(np.int32))
    content, stored = bytearray(), 0
    for channel, steps in enumerate(stepped):
        entries, last = bytearray(), 0
        for place in np.flatnonzero(steps.any(axis=1)).tolist():
            while place - last > _FURTHEST:
                entries += bytes((0, _FURTHEST, 0))
                last += _FURTHEST
            entries += bytes((int(steps[place, 0]) & 255, place - last, int(steps[place, 1]) & 255))
            last = place
        count = len(entries) // _ENTRY
        constants = (
            count | (-layer.shifts[channel] - 1) << 16,
            2 * int(layer.bias[channel]),
            layer.multipliers[channel],
        )
        content += np.array([number & 0xFFFFFFFF for number in constants], "<u4").tobytes()
        content += entries + bytes(-len(entries) % 4)
        stored += count
    words = np.frombuffer(bytes(content), "<u4")
    return PairedWeights(
        words, len(content) - _CHANNEL_CONSTANTS * len(stepped), stored / (len(stepped) * stepped.shape[1])
    )


def _pairs(length: int) -> list[tuple[int, int | None]]:
    whole = range(0, length - length % 4, 4)
    pairs: list[tuple[int, int | None]] = [pair for i in whole for pair in ((i, i + 2), (i + 1, i + 3))]
    rest = length - length % 4
    return pairs + [(rest + a, None if b is None else rest + b) for a, b in _REST[length % 4]]


def _stepped(layer: Linear, weights: NDArray[np.int32]) -> NDArray[np.int32]:
    """Bring weights (channels, taps) into (channels, steps, 2); taps that are not there are 0."""
    count, length = runs(layer)
    split = np.concatenate(
        [weights.reshape(len(weights), count, length), np.zeros((len(weights), count, 1), np.int32)], axis=2
    )
    order = np.array([(a, length if b is None else b) for a, b in _pairs(length)])
    return split[:, :, order].reshape(len(weights), -1, 2)


def _channel_pairs(
    layer: Linear, weights: NDArray[np.int8] | NDArray[np.uint8]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    rows = weights.reshape(layer.channels_out, -1).astype(np.int32)
    if layer.channels_out % 2:
        rows = np.concatenate([rows, np.zeros_like(rows[:1])])
    stepped = _stepped(layer, rows)
    return stepped[0::2], stepped[1::2]


def _with_pair_constants(layer: Linear, words: NDArray[np.uint32]) -> PairedWeights:
    padding = [0] * (layer.channels_out % 2)
    shifts = np.array([-shift - 1 for shift in layer.shifts] + padding, np.uint32)
    bias = np.array([2 * int(bias) for bias in layer.bias] + padding, np.int32).view(np.uint32)
    factors = np.array([*layer.multipliers, *padding], np.uint32)
    tail = np.stack([shifts[0::2] | shifts[1::2] << 8, bias[0::2], factors[0::2], bias[1::2], factors[1::2]], axis=1)
    together = np.concatenate([words, tail], axis=1)
    return PairedWeights(together.reshape(-1), together.nbytes - _PAIR_CONSTANTS * len(together))
