"""Ranges of activations from examples: min-max, percentile or entropy, in bounded time and memory.

Runtimes' own calibrators hold every activation of every example in memory, average extremes away, or look at one
candidate only with their default settings; so this is done here, once for all of them.

References:
    Migacz: 8-bit Inference with TensorRT (GTC 2017), for the entropy method.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from autoshrink.core import Refusal
from autoshrink.core.encoding import Calibration
from autoshrink.models.splits import Split

__all__ = ["BATCH", "Span", "Walk", "Watch", "calibration_examples", "find_ranges"]

Span = tuple[float, float]
Watch = Callable[[str, np.ndarray], None]
Walk = Callable[[Watch], None]
"""Runs the float model on the examples, and shows each activation with its name; it may be called several times."""

BATCH = 32
"""Examples that are run together."""
_MOST_EXAMPLES = 512
_BINS = 2048
_CUT = 1e-4
"""The share of values that the percentile method cuts off, both ends together."""
_STEP = 16
_MOST_CLIPPED = 0.01
_TINY = 1e-9


def calibration_examples(examples: Split) -> Split:
    """Choose the examples that are looked at: at most 512, evenly spaced.

    Raises:
        Refusal: there are none.
    """
    if not len(examples):
        raise Refusal("static quantization needs calibration examples, and there are none")
    if len(examples) > _MOST_EXAMPLES:
        return examples.rows(torch.linspace(0, len(examples) - 1, _MOST_EXAMPLES).long())
    return examples


def find_ranges(walk: Walk, method: Calibration) -> dict[str, Span]:
    """Find the range of each activation.

    Args:
        walk: shows the activations, one batch at a time; called a second time by other methods than min-max.
        method: how.

    Raises:
        Refusal: a value is not finite.
    """
    spans = _extremes(walk)
    if method == "minmax":
        return spans
    magnitudes = method == "entropy"
    histograms = _histograms(walk, spans, magnitudes)
    cut = _by_entropy if magnitudes else _by_percentile
    return {name: cut(histograms[name], span) for name, span in spans.items()}


def _extremes(walk: Walk) -> dict[str, Span]:
    spans: dict[str, Span] = {}

    def watch(name: str, array: np.ndarray) -> None:
        low, high = float(array.min()), float(array.max())
        if not np.isfinite(low + high):
            raise Refusal("static quantization can't work: an activation is infinite or NaN on a calibration example")
        known = spans.get(name, (low, high))
        spans[name] = (min(known[0], low), max(known[1], high))

    walk(watch)
    return spans


def _histograms(walk: Walk, spans: dict[str, Span], magnitudes: bool) -> dict[str, np.ndarray]:
    counts = {name: np.zeros(_BINS) for name in spans}

    def watch(name: str, array: np.ndarray) -> None:
        limits = spans[name]
        if magnitudes:
            # Exact zeros, most of what a ReLU gives, cost nothing under any range.
            array, limits = np.abs(array[array != 0]), (0.0, max(abs(limits[0]), abs(limits[1])))
        if limits[1] > limits[0]:
            counts[name] += np.histogram(array, _BINS, limits)[0]

    walk(watch)
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
