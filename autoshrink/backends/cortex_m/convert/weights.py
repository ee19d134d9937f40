"""Weights and biases as integers: symmetric, per channel or per tensor, in 8 or 4 bits, with or without a codebook."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autoshrink.backends.cortex_m.convert.network import Node
from autoshrink.backends.cortex_m.encodings import MOST_ENTRIES
from autoshrink.core import Encoding

__all__ = ["Weights", "quantize_weights"]

_BIAS_LIMIT = 2**30
_SHRINKS = np.linspace(1.0, 0.6, 21)
"""Parts of a channel's range that a 4-bit grid is tried with: clipping a few weights can serve the others."""


@dataclass(frozen=True)
class Weights:
    """Integers in the layout of the node's weight, one scale for each output channel, int32 biases."""

    bits: int
    values: np.ndarray
    scales: np.ndarray
    bias: np.ndarray


def quantize_weights(node: Node, encoding: Encoding, input_scale: float) -> Weights:
    """Round the weights of an operator to integers.

    With a codebook, all channels have one grid in terms of the weights before folding, and what was folded into them
    goes into the channels' scales: weights that shared a value still do. The codebook's entries have 8 bits, whatever
    was asked for: weights are stored as indices of 4.

    Args:
        node: a conv, depthwise or fully_connected.
        encoding: bits, granularity, codebook.
        input_scale: of the activation that the weights are multiplied with.

    Returns:
        Weights in −127…127 or −7…7, float32 scales of shape (out,), biases in units of input scale × weight scale.
    """
    assert node.weight is not None
    assert node.gain is not None
    assert node.bias is not None
    raw = _channels_first(node, node.weight)
    shares = _shares(raw, encoding)
    bits = 4 if encoding.weight_bits == 4 and not shares and node.module not in encoding.kept else 8
    limit = 2 ** (bits - 1) - 1
    if shares:
        unit = _grid(raw.reshape(1, -1), limit) * np.ones(len(raw))
        values = np.rint(raw / unit[:, None]).clip(-limit, limit)
        scales = unit * np.abs(node.gain)
        values = _negated(values, node.gain < 0, encoding.codebook or limit)
    else:
        folded = raw * node.gain[:, None]
        rows = folded if encoding.granularity == "per_channel" else folded.reshape(1, -1)
        scales = _grid(rows, limit) * np.ones(len(raw))
        values = None
    scales = _usable(scales, node.bias, input_scale)
    if values is None:
        values = np.rint(folded / scales[:, None]).clip(-limit, limit)
    bias = np.rint(node.bias / (scales.astype(np.float64) * input_scale)).clip(-_BIAS_LIMIT, _BIAS_LIMIT)
    return Weights(bits, _channels_back(node, values.astype(np.int8)), scales, bias.astype(np.int32))


def _channels_first(node: Node, array: np.ndarray) -> np.ndarray:
    """Give (out, weights of one channel)."""
    return array.reshape(-1, array.shape[-1]).T if node.kind == "depthwise" else array.reshape(len(array), -1)


def _channels_back(node: Node, rows: np.ndarray) -> np.ndarray:
    assert node.weight is not None
    return np.ascontiguousarray(rows.T if node.kind == "depthwise" else rows).reshape(node.weight.shape)


def _shares(raw: np.ndarray, encoding: Encoding) -> bool:
    # Whether a kernel will look the weights up: in a codebook with indices that are shorter than the weights.
    return encoding.codebook is not None and len(np.unique(raw)) <= min(encoding.codebook, MOST_ENTRIES)


def _grid(rows: np.ndarray, limit: int) -> np.ndarray:
    """Find the step of each row's grid, shape (rows,): that of its largest weight, or for 4 bits of the least error."""
    largest: np.ndarray = np.abs(rows).max(1) / limit
    if limit > 7:
        return largest
    safe = np.where(largest > 0, largest, 1.0)
    steps = safe[:, None] * _SHRINKS
    errors = [((np.rint(rows / s[:, None]).clip(-limit, limit) * s[:, None] - rows) ** 2).sum(1) for s in steps.T]
    best = np.argmin(errors, 0)
    return np.where(largest > 0, steps[np.arange(len(rows)), best], 0.0)


def _negated(values: np.ndarray, flipped: np.ndarray, entries: int) -> np.ndarray:
    """Turn the channels with a negative gain, since a scale is positive, and keep within the codebook's entries."""
    turned = np.where(flipped[:, None], -values, values)
    if len(np.unique(turned)) <= entries:
        return turned
    kept = np.unique(values[~flipped])
    nearest = np.searchsorted((kept[1:] + kept[:-1]) / 2, turned)
    return np.where(flipped[:, None], kept[nearest], turned)


def _usable(scales: np.ndarray, bias: np.ndarray, input_scale: float) -> np.ndarray:
    # A channel of zeros, or one whose bias is far larger than its weights, takes a scale in which its bias fits.
    needed = np.abs(bias) / (_BIAS_LIMIT * input_scale)
    largest = scales.max() if scales.any() else 1.0
    usable: np.ndarray = np.maximum(np.where(scales > 0, scales, largest), needed)
    return usable.astype(np.float32)
