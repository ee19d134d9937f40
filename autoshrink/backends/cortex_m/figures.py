"""The figures of a candidate as text, for the files that the user takes home."""

from __future__ import annotations

from collections.abc import Iterator

from autoshrink.core import Candidate, Hardware, Metric, show_quantity

__all__ = ["figures", "one_line"]

_SHOWN = ("latency", "memory", "size", "energy", "cycles", "instructions", "stack")


def figures(candidate: Candidate, hardware: Hardware) -> list[str]:
    """Write what a candidate is, what it takes, with band and origin, and the conditions: one line each."""
    return [
        f"Candidate {candidate.id} on {one_line(hardware.name)}",
        one_line(f"Recipe: {candidate.recipe.describe()}"),
        "",
        *_metrics(candidate, hardware),
        *_accuracy(candidate),
        "",
        *(f"{name}: {one_line(str(value))}" for name, value in candidate.measurement.conditions.items()),
    ]


def one_line(text: str) -> str:
    """Make a text safe inside a comment."""
    return " ".join(text.split()).replace("*/", "* /").rstrip("\\")


def _metrics(candidate: Candidate, hardware: Hardware) -> Iterator[str]:
    for name in _SHOWN:
        metric = candidate.metrics.get(name)
        if metric is not None:
            yield f"{name:<13}{_figure(metric)}"
        elif name == "energy" and hardware.energy is None:
            yield f"{name:<13}not known: the profile states no energy per cycle"


def _figure(metric: Metric) -> str:
    if metric.low == metric.high:
        return f"{metric.value:,.0f}{' bytes' if metric.unit == 'B' else ''}, {metric.origin}"
    low, value, high = (show_quantity(number, metric.unit) for number in (metric.low, metric.value, metric.high))
    return f"{value} ({low} to {high}), {metric.origin}"


def _accuracy(candidate: Candidate) -> Iterator[str]:
    for split, score in candidate.accuracy.model_dump(exclude_none=True).items():
        yield f"{'accuracy':<13}{score:.4g} on the whole {split} split, in tflite-micro's interpreter"
