"""How far a search has come, from the records of its candidates: front, best figures, and hypervolume over time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from autoshrink.core import Accuracy, Candidate, Limits, Measurement, Metric, Recipe, Tally

__all__ = ["figures_so_far", "history"]

_RECIPE = Recipe()


def history(brief: Mapping[str, Any], points: Iterable[tuple[int, str]]) -> list[tuple[int, int, float]]:
    """Follow the front through a search.

    Args:
        brief: what was asked, as `autoshrink.tracking.points.brief_of` writes it.
        points: when each candidate arrived, in ms, and its record.

    Returns:
        Whenever the front changed, and at the end: time in ms, candidates until then, and the dominated share of the
        box between ideal and limits.
    """
    tally = _tally(brief)
    trace: list[tuple[int, int, float]] = []
    count, last, volume = 0, 0, -1.0
    for at, text in sorted(points):
        candidate = _candidate(text)
        if candidate is None:
            continue
        tally.add(candidate)
        count, last = count + (candidate.id != 0), at
        if tally.hypervolume != volume:
            volume = tally.hypervolume
            trace.append((at, count, volume))
    return [*trace, (last, count, volume)] if trace else []


def figures_so_far(brief: Mapping[str, Any], points: Iterable[str]) -> dict[str, float]:
    """Judge a search under way: the same figures as the metrics that its run gets in the end."""
    tally = _tally(brief)
    for text in points:
        candidate = _candidate(text)
        if candidate is not None:
            tally.add(candidate)
    figures = {"candidates": max(len(tally) - 1, 0), "front": len(tally.members), "hypervolume": tally.hypervolume}
    for name in tally.objectives:
        if (best := tally.best(name)) is not None:
            value = tally.figure(best, name)
            figures[f"best.{name}"] = value.value if isinstance(value, Metric) else value
    return figures


def _tally(brief: Mapping[str, Any]) -> Tally:
    return Tally(brief["objectives"], Limits.model_validate(brief["limits"]))


def _candidate(text: str) -> Candidate | None:
    """Read what decides where a candidate stands; without the checks of each field, which take ten times as long."""
    try:
        point = json.loads(text)
        metrics = {name: _metric(*figure) for name, figure in point["metrics"].items()}
        scores = {split: float(score) for split, score in point["accuracy"].items()}
        return Candidate.model_construct(
            id=int(point["id"]),
            recipe=_RECIPE,
            outcome=point["outcome"],
            reason="",
            measurement=Measurement.model_construct(metrics=metrics, conditions={}),
            accuracy=Accuracy.model_construct(validation=scores.get("validation"), test=scores.get("test")),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None  # not written by a search


def _metric(value: float, low: float, high: float, _: str) -> Metric:
    return Metric.model_construct(value=float(value), low=float(low), high=float(high), unit="", origin="measured")
