"""Ranges of activations from examples: min-max, percentile or entropy, in bounded time and memory.

The runtime's own calibrators hold every activation of every example in memory, and its entropy method looks at one
candidate only with its default settings, which is min-max again; so both are done here.

References:
    Migacz: 8-bit Inference with TensorRT (GTC 2017), for the entropy method.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import torch

from autoshrink.backends.onnxruntime.export import feeds_of
from autoshrink.backends.onnxruntime.sessions import probe
from autoshrink.core import Refusal
from autoshrink.core.encoding import Calibration
from autoshrink.models.splits import Split

__all__ = ["Span", "calibrate"]

Span = tuple[float, float]

_MOST_EXAMPLES = 512
_BATCH = 32
_BINS = 2048
_CUT = 1e-4
"""The share of values that the percentile method cuts off, both ends together."""
_STEP = 16
_MOST_CLIPPED = 0.01
_TINY = 1e-9


def calibrate(
    model: ir.Model, examples: Split, input_names: tuple[str, ...], values: Sequence[str], method: Calibration
) -> dict[str, Span]:
    """Find the range of each named value.

    At most 512 examples are used, evenly spaced; the values of one batch are in memory at a time.

    Raises:
        Refusal: there are no examples, or a value is not finite.
    """
    if not values:
        return {}
    if not len(examples):
        raise Refusal("static quantization needs calibration examples, and there are none")
    if len(examples) > _MOST_EXAMPLES:
        examples = examples.rows(torch.linspace(0, len(examples) - 1, _MOST_EXAMPLES).long())
    spans = _extremes(model, examples, input_names, values)
    if method == "minmax":
        return spans
    magnitudes = method == "entropy"
    histograms = _histograms(model, examples, input_names, spans, magnitudes)
    cut = _by_entropy if method == "entropy" else _by_percentile
    return {name: cut(histograms[name], spans[name]) for name in values}


def _extremes(model: ir.Model, examples: Split, inputs: tuple[str, ...], values: Sequence[str]) -> dict[str, Span]:
    spans = dict.fromkeys(values, (np.inf, -np.inf))
    for batch in probe(model, feeds_of(examples, inputs, _BATCH), values):
        for name, array in zip(values, batch, strict=True):
            low, high = float(array.min()), float(array.max())
            if not np.isfinite(low + high):
                raise Refusal(
                    "static quantization can't work: an activation is infinite or NaN on a calibration example"
                )
            spans[name] = (min(spans[name][0], low), max(spans[name][1], high))
    return spans


def _histograms(
    model: ir.Model, examples: Split, inputs: tuple[str, ...], spans: dict[str, Span], magnitudes: bool
) -> dict[str, np.ndarray]:
    counts = {name: np.zeros(_BINS) for name in spans}
    for batch in probe(model, feeds_of(examples, inputs, _BATCH), list(spans)):
        for (name, span), array in zip(spans.items(), batch, strict=True):
            if magnitudes:
                # Exact zeros, most of what a ReLU gives, cost nothing under any range.
                data, limits = np.abs(array[array != 0]), (0.0, max(abs(span[0]), abs(span[1])))
            else:
                data, limits = array, span
            if limits[1] > limits[0]:
                counts[name] += np.histogram(data, _BINS, limits)[0]
    return counts


def _by_percentile(counts: np.ndarray, span: Span) -> Span:
    if not counts.sum():
        return span
    low, high = span
    edges = np.linspace(low, high, _BINS + 1)
    shares = np.cumsum(counts) / counts.sum()
    first = int(np.searchsorted(shares, _CUT / 2, side="right"))
    last = int(np.searchsorted(shares, 1 - _CUT / 2))
    return float(edges[first]), float(edges[min(last + 1, _BINS)])


def _by_entropy(counts: np.ndarray, span: Span) -> Span:
    """Clip where the quantized distribution is nearest to the original, by Kullback-Leibler divergence."""
    if not counts.sum():
        return span
    levels = 128 if span[0] < 0 < span[1] else 255
    # Everything clipped to one value would have no divergence at all.
    least = int(np.searchsorted(np.cumsum(counts), counts.sum() * (1 - _MOST_CLIPPED))) + 1
    ends = [*range(max(levels, least), _BINS, _STEP), _BINS]
    best = min(ends, key=lambda end: _divergence(counts, end, levels))
    threshold = best / _BINS * max(abs(span[0]), abs(span[1]))
    return max(span[0], -threshold), min(span[1], threshold)


def _divergence(counts: np.ndarray, end: int, levels: int) -> float:
    kept = counts[:end]
    clipped = kept.copy()
    clipped[-1] += counts[end:].sum()
    starts = np.arange(levels) * end // levels
    filled = kept > 0
    sums, sizes = np.add.reduceat(kept, starts), np.add.reduceat(filled.astype(float), starts)
    level = np.repeat(np.arange(levels), np.diff([*starts, end]))
    spread = np.where(filled, (sums / np.maximum(sizes, 1))[level], 0.0)
    if not spread.sum():
        return float("inf")
    p, q = clipped / clipped.sum(), spread / spread.sum()
    present = p > 0
    return float((p[present] * np.log(p[present] / np.maximum(q[present], _TINY))).sum())
