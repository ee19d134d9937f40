"""Figures in words: value, band, origin, and how they compare with the original's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autoshrink.core import COSTS, Candidate, Front, Metric, show_quantity
from autoshrink.core.candidate import State
from autoshrink.core.front import accuracy_of
from autoshrink.techniques.registry import techniques_of
from autoshrink.tracking.report.blocks import Figure, Text

__all__ = [
    "METRICS",
    "SAME",
    "STATES",
    "accuracy_label",
    "band",
    "compared",
    "costs_of",
    "figure",
    "listed",
    "score",
    "scored",
    "short_recipe",
]

SAME = "about the same"
METRICS: Mapping[str, str] = {
    "latency": "latency (time for one input)",
    "memory": "memory (peak while running)",
    "size": "size (as stored)",
    "energy": "energy (for one input)",
    "instructions": "instructions (for one input)",
    "cycles": "processor cycles (for one input)",
    "stack": "stack (a part of the memory)",
}
STATES: Mapping[State, str] = {
    "front": "on the front: keeps every limit, and no other is better in everything",
    "dominated": "keeps every limit, but another is at least as good in everything",
    "over_budget": "was measured and breaks a limit",
    "stopped": "was given up early: its costs, or the accuracy that was foretold for it, ruled it out",
    "refused": "could not be made: a technique or the runtime can't do it with this model on this device",
    "failed": "crashed while it was made or measured",
}
_BETTER = {"latency": ("faster", "slower"), "size": ("smaller", "larger")}


def figure(candidate: Candidate, name: str, end: str = "value") -> Figure | str:
    """Give one figure of a candidate, or an end of its band; a dash where it was not measured."""
    metric = candidate.metrics.get(name)
    if metric is None:
        return "–"
    value = getattr(metric, end)
    shown = f"{value:,.0f}" if metric.unit == "1" else show_quantity(value, metric.unit)
    return Figure(shown, value, f"{candidate.id}.{name}.{end}")


def band(candidate: Candidate, name: str) -> Text:
    """Give the band of a figure: where the true value is expected to be."""
    metric = candidate.metrics.get(name)
    if metric is None:
        return "–"
    if metric.low == metric.high:
        return "exact"
    return figure(candidate, name, "low"), " to ", figure(candidate, name, "high")


def score(value: float) -> str:
    """Print an accuracy: a share of one as a percentage."""
    return f"{100 * value:.2f} %" if 0 <= value <= 1 else f"{value:.4g}"


def scored(candidate: Candidate) -> Figure | str:
    """Give a candidate's accuracy, on the test split where it is known."""
    value = accuracy_of(candidate)
    if value is None:
        return "–"
    split = "validation" if candidate.accuracy.test is None else "test"
    return Figure(score(value), value, f"{candidate.id}.accuracy.{split}")


def compared(candidate: Candidate, original: Candidate, name: str) -> str:
    """Say how a figure compares with the original's: ``4.6 times faster``."""
    metric, before = candidate.metrics.get(name), original.metrics.get(name)
    if metric is None or before is None or candidate.id == original.id or not metric.value or not before.value:
        return ""
    return _times(before.value / metric.value, name)


def accuracy_label(metric: str, split: str) -> str:
    """Name the accuracy: by which metric, where that is not the usual one, and on which data."""
    return f"accuracy ({split} data)" if metric == "accuracy" else f"accuracy ({metric}, {split} data)"


def costs_of(front: Front, *others: Candidate) -> list[str]:
    """Name the costs that anything is known of, in their usual order, and behind them what else was counted."""
    known: dict[str, Metric] = {}
    for candidate in (*others, front.judged[0].candidate, *front.members):
        known |= candidate.metrics
    return [*(name for name in COSTS if name in known), *(name for name in known if name not in COSTS)]


def short_recipe(candidate: Candidate) -> str:
    """Say in a few words what was done to the model."""
    labels = [technique.label() for technique in techniques_of(candidate.recipe)]
    return " → ".join(labels) if labels else "the original model"


def listed(numbers: Sequence[int], most: int = 12) -> str:
    """Print candidates' numbers, the first of many."""
    shown = ", ".join(map(str, numbers[:most]))
    return shown if len(numbers) <= most else f"{shown} and {len(numbers) - most} more"


def _times(ratio: float, name: str) -> str:
    if 0.95 < ratio < 1.05:
        return SAME
    better, worse = _BETTER.get(name, (f"less {name}", f"more {name}") if name in COSTS else ("fewer", "more"))
    return f"{ratio:.1f} times {better}" if ratio > 1 else f"{1 / ratio:.1f} times {worse}"
