"""A candidate as MLflow stores it: params, metrics and tags."""

from __future__ import annotations

import re
from dataclasses import dataclass

from autoshrink.core import Candidate, Target, content_key
from autoshrink.core.candidate import State
from autoshrink.tracking.points import POINT, point_of

__all__ = ["Record", "record_of", "target_params"]

_LONGEST = 4000
"""Characters of a tag: below the limit of every MLflow store."""
_STATUS = {"measured": "FINISHED", "refused": "KILLED", "stopped": "KILLED", "failed": "FAILED"}


@dataclass(frozen=True)
class Record:
    """What one run holds."""

    name: str
    status: str
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]

    @property
    def figures_key(self) -> str:
        """A key of what rarely changes: params and metrics."""
        return content_key([self.params, self.metrics])

    @property
    def tags_key(self) -> str:
        """A key of the tags, which change with the standing on the front."""
        return content_key(self.tags)


def record_of(candidate: Candidate, state: State | None = None, reason: str = "") -> Record:
    """Write a candidate as a record.

    Args:
        candidate: with whatever is known of it.
        state: its standing among all, once it is judged.
        reason: why it has this standing.
    """
    measured = candidate.metrics
    metrics: dict[str, float] = {}
    tags = {
        "autoshrink.candidate": str(candidate.id),
        "autoshrink.key": candidate.key,
        "autoshrink.state": state or candidate.outcome,
        "pareto": str(state == "front").lower(),
        POINT: point_of(candidate, state, reason),
    }
    for name, metric in measured.items():
        metrics |= {name: metric.value, f"{name}.low": metric.low, f"{name}.high": metric.high}
        tags |= {f"origin.{name}": metric.origin, f"unit.{name}": metric.unit}
    for split, score in candidate.accuracy.model_dump(exclude_none=True).items():
        metrics[f"accuracy.{split}"] = score
        tags["origin.accuracy"] = "measured"
    metrics |= candidate.facts | {f"seconds.{stage}": value for stage, value in candidate.seconds.items()}
    if why := reason or candidate.reason:
        tags["autoshrink.reason"] = why[-_LONGEST:]
    if candidate.artifact is not None:
        tags |= {"autoshrink.artifact": candidate.artifact.key, "autoshrink.backend": candidate.artifact.backend}
    params = {f"{s.kind}.{key}": str(value) for s in candidate.recipe.steps for key, value in s.params.items()}
    return Record(
        name=f"{candidate.id} original" if not candidate.recipe.steps else f"{candidate.id} {_kinds(candidate)}",
        status=_STATUS[candidate.outcome],
        params={_name(key): value[:_LONGEST] for key, value in params.items()},
        metrics={_name(key): value for key, value in metrics.items()},
        tags={_name(key): value for key, value in tags.items()},
    )


def target_params(target: Target) -> dict[str, str]:
    """Write what the user declared as the params of the search's run."""
    data = target.model_dump(mode="json", exclude={"hardware": True, "search": {"space"}}, exclude_none=True)
    data["hardware"] = target.hardware.name
    data["objectives"] = ", ".join(target.metrics)
    flat: dict[str, str] = {}
    for key, value in data.items():
        inner = value.items() if isinstance(value, dict) else [("", value)]
        flat |= {f"{key}.{name}".rstrip("."): str(item)[:_LONGEST] for name, item in inner}
    return flat | {"space": ", ".join(target.search.space.kinds())}


def _kinds(candidate: Candidate) -> str:
    return " → ".join(step.kind for step in candidate.recipe.steps)


def _name(text: str) -> str:
    return re.sub(r"[^\w. /:-]", "_", text)
