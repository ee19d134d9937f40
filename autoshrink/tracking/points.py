"""What the Pareto page reads of a search: one tag on its run, and one on each candidate's.

MLflow needs some forty rows for a candidate's params, metrics and tags, and seconds to read 10,000 candidates back from
them. The page needs one row for each: this tag.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from autoshrink.core import COSTS, Candidate, Limits, Target
from autoshrink.core.candidate import State

__all__ = ["BRIEF", "MODEL", "PAGE", "POINT", "brief_of", "page_of", "point_of"]

BRIEF = "autoshrink.brief"
"""The tag of a search's run: what was asked."""
POINT = "autoshrink.point"
"""The tag of a candidate's run: what was found."""
MODEL = "autoshrink.model"
"""The tag of a candidate's run that says where MLflow keeps its files."""
PAGE = "autoshrink.page"
"""The tag of a search's run that says where the Pareto page is, from the root of MLflow's server."""

_LONGEST = 4000
"""Characters of a tag: below the limit of every MLflow store."""
_REASON, _NAME = 400, 300


def brief_of(target: Target, limits: Limits, fingerprint: Mapping[str, Any], original: Candidate) -> str:
    """Write what a search was asked for as JSON, in base units.

    Args:
        target: the user's.
        limits: budget, what the device has, and the floor.
        fingerprint: of the device; its ``key`` is kept.
        original: the original model, whose accuracy is kept.
    """
    hardware = target.hardware
    brief = {
        "target": target.name[:_NAME],
        "model": target.model[:_NAME],
        "data": target.data[:_NAME],
        "metric": target.metric[:_NAME],
        "objectives": target.metrics,
        "units": COSTS,
        "limits": limits.model_dump(),
        "original": original.accuracy.model_dump(exclude_none=True),
        "budget": target.budget.limits,
        "hardware": {"name": hardware.name[:_NAME], "kind": hardware.kind, "backend": hardware.backend[:_NAME]},
        "fingerprint": str(fingerprint.get("key", "")),
        "candidates": target.search.candidates,
        "seed": target.search.seed,
        "space": target.search.space.kinds(),
    }
    return _json(brief)


def point_of(candidate: Candidate, state: State | None = None, reason: str = "") -> str:
    """Write what was found of a candidate as JSON, in base units: each figure as value, low, high and origin.

    Args:
        candidate: with whatever is known of it.
        state: its standing among all, once it is judged.
        reason: why it has this standing.
    """
    why = reason or candidate.reason
    point: dict[str, Any] = {
        "id": candidate.id,
        "key": candidate.key,
        "outcome": candidate.outcome,
        "state": state,
        "reason": why if len(why) <= _REASON else f"… {why[-_REASON:]}",
        "accuracy": candidate.accuracy.model_dump(exclude_none=True),
        "metrics": {name: [m.value, m.low, m.high, m.origin] for name, m in candidate.metrics.items()},
        "steps": candidate.recipe.model_dump(mode="json")["steps"],
        "facts": {name: _short(value) for name, value in candidate.facts.items()},
        "seconds": {name: _short(value) for name, value in candidate.seconds.items()},
    }
    for part in ("seconds", "facts", "steps"):  # what can best be done without
        if len(text := _json(point)) <= _LONGEST:
            return text
        point[part] = type(point[part])()
    return _json(point)


def page_of(run: str) -> str:
    """Give the address of a search's Pareto page, from the root of MLflow's server.

    Args:
        run: the id of the search's run.
    """
    return f"/autoshrink/searches/{re.sub(r'[^0-9A-Za-z]', '', run)}"


def _short(value: float) -> float:
    return float(f"{value:.5g}")


def _json(data: object) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
