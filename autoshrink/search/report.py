"""The document of a search: what ``--json`` prints and what a finished search leaves in its folder."""

from __future__ import annotations

from typing import Any

from autoshrink.core import COSTS, Accuracy, AutoshrinkError, Candidate, Front, Limits, SpecError, Target, judge
from autoshrink.search.store import Store

__all__ = ["blind", "front_of", "limits_for", "load_front", "report"]


def limits_for(target: Target, baseline: Candidate) -> Limits:
    """Join the budget, what the device physically has, and the accuracy floor.

    Raises:
        SpecError: the floor is above the original's own accuracy.
    """
    before = baseline.accuracy.validation
    if before is None:
        raise SpecError("the original model was not measured: run the search again with --resume")
    floor = target.accuracy.floor_for(before)
    if floor > before:
        raise target.source.error(
            ("accuracy", "floor"),
            f"the floor {floor:.4g} is above the original model's own {target.metric} of {before:.4g} on the "
            "validation split: lower it, or train the model further",
        )
    after = baseline.accuracy.test
    physical = {name: value for name in COSTS if (value := getattr(target.hardware.limits, name, None)) is not None}
    return Limits(
        floor=floor,
        test_floor=target.accuracy.floor_for(after) if after is not None else None,
        costs={**physical, **target.budget.limits},
        baseline={name: metric.value for name, metric in baseline.metrics.items()},
    )


def blind(candidate: Candidate) -> Candidate:
    """Hide the test split's result: while a search goes on, it decides by the validation split alone."""
    return candidate.model_copy(update={"accuracy": Accuracy(validation=candidate.accuracy.validation)})


def front_of(target: Target, candidates: list[Candidate]) -> Front:
    """Judge the candidates of a search; the first is the original model."""
    return judge(candidates, target.metrics, limits_for(target, candidates[0]))


def report(store: Store, target: Target, front: Front, seconds: dict[str, float]) -> dict[str, Any]:
    """Write a search as one JSON document, in base units (s, bytes, J; accuracy as a fraction)."""
    baseline = front.judged[0].candidate
    return {
        "search": store.name,
        "target": target.name,
        "hardware": store.read_json("hardware.json") or {},
        "objectives": list(front.objectives),
        "limits": {"accuracy": front.limits.floor, **front.limits.costs},
        "baseline": {"metrics": _metrics(baseline), "accuracy": baseline.accuracy.model_dump()},
        "candidates": [
            {
                "id": item.candidate.id,
                "key": item.candidate.key,
                "recipe": item.candidate.recipe.model_dump(mode="json"),
                "state": item.state,
                "reason": item.reason,
                "metrics": _metrics(item.candidate),
                "accuracy": item.candidate.accuracy.model_dump(),
                "facts": item.candidate.facts,
                "seconds": item.candidate.seconds,
                "artifact": _artifact(store, item.candidate),
            }
            for item in front.judged
        ],
        "front": [member.id for member in front.members],
        "confirmed": all(member.accuracy.test is not None for member in front.members),
        "hypervolume": front.hypervolume,
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
    }


def load_front(store: Store) -> tuple[Target, Front, dict[str, Any]]:
    """Judge a past search again from its records, finished or not.

    Raises:
        AutoshrinkError: not even the original model was measured.
    """
    target, candidates = store.target(), store.candidates()
    if not candidates or candidates[0].id != 0:
        raise AutoshrinkError(
            f"search {store.name!r} ended before anything was measured; --resume {store.name} goes on"
        )
    front = front_of(target, candidates)
    return target, front, report(store, target, front, store.read_json("seconds.json") or {})


def _metrics(candidate: Candidate) -> dict[str, dict[str, Any]]:
    return {name: metric.model_dump() for name, metric in candidate.metrics.items()}


def _artifact(store: Store, candidate: Candidate) -> dict[str, Any] | None:
    if candidate.artifact is None:
        return None
    files = [str(store.artifacts / candidate.artifact.key / name) for name in candidate.artifact.files]
    return {"key": candidate.artifact.key, "size": candidate.artifact.size, "files": files}
