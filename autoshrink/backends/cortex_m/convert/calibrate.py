"""Ranges of activations from examples, on the float network: min-max or percentile, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from autoshrink.backends.cortex_m.convert.execute import run
from autoshrink.backends.cortex_m.convert.network import Network
from autoshrink.core import Refusal
from autoshrink.core.encoding import Calibration
from autoshrink.models.splits import Split

__all__ = ["Span", "calibrate", "feeds"]

Span = tuple[float, float]

_MOST_EXAMPLES = 512
_BATCH = 32
_BINS = 2048
_CUT = 1e-4
"""The share of values that the percentile method cuts off, both ends together."""


def calibrate(network: Network, examples: Split, method: Calibration) -> dict[str, Span]:
    """Find the range of every activation.

    At most 512 examples are used, evenly spaced; the values of one batch are in memory at a time.

    Raises:
        Refusal: there are no examples, a value is not finite, or the method is not known here.
    """
    if method not in ("minmax", "percentile"):
        raise Refusal(f"calibration by {method} is not there for microcontrollers: use minmax or percentile")
    if not len(examples):
        raise Refusal("static quantization needs calibration examples, and there are none")
    if len(examples) > _MOST_EXAMPLES:
        examples = examples.rows(torch.linspace(0, len(examples) - 1, _MOST_EXAMPLES).long())
    spans = _extremes(network, examples)
    return spans if method == "minmax" else _percentiles(network, examples, spans)


def feeds(network: Network, examples: Split, size: int = _BATCH) -> Iterator[Mapping[str, np.ndarray]]:
    """Walk through examples in batches, as inputs of a network in the file's order."""
    for batch in examples.batches(size):
        ports = zip(network.inputs.items(), batch.arrays(), strict=True)
        yield {name: port.to_file(array) for (name, port), array in ports}


def _extremes(network: Network, examples: Split) -> dict[str, Span]:
    spans: dict[str, Span] = {}

    def watch(name: str, tensor: Tensor) -> None:
        low, high = (float(value) for value in tensor.aminmax())
        if not np.isfinite(low + high):
            raise Refusal("static quantization can't work: an activation is infinite or NaN on a calibration example")
        known = spans.get(name, (low, high))
        spans[name] = (min(known[0], low), max(known[1], high))

    for feed in feeds(network, examples):
        run(network, feed, watch)
    return spans


def _percentiles(network: Network, examples: Split, spans: Mapping[str, Span]) -> dict[str, Span]:
    counts = {name: np.zeros(_BINS) for name in spans}

    def watch(name: str, tensor: Tensor) -> None:
        low, high = spans[name]
        if high > low:
            counts[name] += torch.histc(tensor, _BINS, low, high).numpy()

    for feed in feeds(network, examples):
        run(network, feed, watch)
    return {name: _cut(counts[name], span) for name, span in spans.items()}


def _cut(counts: np.ndarray, span: Span) -> Span:
    if not counts.sum():
        return span
    edges = np.linspace(span[0], span[1], _BINS + 1)
    shares = np.cumsum(counts) / counts.sum()
    first = int(np.searchsorted(shares, _CUT / 2, side="right"))
    last = int(np.searchsorted(shares, 1 - _CUT / 2))
    return float(edges[first]), float(edges[min(last + 1, _BINS)])
