"""Registered champions: whether they still keep the limits, and what takes their place after a re-optimisation."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

from autoshrink.core import Candidate, Front, Target
from autoshrink.search.nodes import place_of
from autoshrink.search.report import blind, limits_for
from autoshrink.search.store import Store
from autoshrink.search.work import measure_artifact
from autoshrink.tracking.champions import Champion
from autoshrink.tracking.register import register

__all__ = ["drift", "succeed"]

_LOOKS = 3
"""A champion that breaks a limit is looked at so often before it counts: a machine is busy at times."""


def drift(target: Target, champion: Champion) -> str:
    """Measure a champion's own files as they run today, and say which limit they break; empty when none.

    The plain latency counts, as whoever uses the model has it, and not the one in turn with the original.
    """
    store = Store(champion.folder)
    known = {candidate.id: candidate for candidate in store.candidates()}
    candidate, original = known.get(champion.candidate), known.get(0)
    files = store.find_artifact(candidate.artifact) if candidate is not None and candidate.artifact else None
    if candidate is None or candidate.artifact is None or original is None or files is None:
        return ""  # whoever removed the search's files did not mean this
    limits = limits_for(target, original)
    for look in range(_LOOKS):
        with tempfile.TemporaryDirectory(prefix="autoshrink-") as scratch:
            measured = measure_artifact(
                target,
                candidate.artifact,
                files,
                effort="thorough" if look else "normal",
                scratch=Path(scratch),
                place=place_of(target.hardware),
            )
        today = candidate.model_copy(update={"measurement": measured.measurement, "accuracy": measured.accuracy})
        broken = limits.explain(blind(today))
        if not broken:
            return ""
    return broken


def succeed(target: Target, store: Store, front: Front, champion: Champion) -> dict[str, Any]:
    """Register the champion's successor of a new front, and give it the champion's alias.

    Args:
        target: the new search's.
        store: the new search's.
        front: confirmed: its members keep floor and budget.
        champion: of an earlier search.

    Returns:
        What was done: ``model``, ``alias``, ``before`` and ``version``, and the new ``candidate``; where the front is
        empty, ``version`` and ``candidate`` are None, and the alias stays where it was.

    Raises:
        AutoshrinkError: MLflow can't be reached.
    """
    done = {"model": champion.model, "alias": champion.alias, "before": champion.version}
    successor = _successor(front, champion)
    if successor is None:
        return {**done, "version": None, "candidate": None}
    picked = register(
        store.folder,
        target,
        front,
        successor,
        store.artifact_folder(successor),
        champion.model,
        champion.alias,
        store.read_json("hardware.json"),
        champion.prefer,
    )
    return {**done, "version": picked.version, "candidate": successor.id}


def _successor(front: Front, champion: Champion) -> Candidate | None:
    """Choose as the champion was chosen: by the same preference, else the same recipe, else what is most like it."""
    if champion.prefer:
        return front.knee() if champion.prefer == "knee" else front.best(champion.prefer)
    before = next((item for item in Store(champion.folder).candidates() if item.id == champion.candidate), None)
    if before is None:
        return front.knee()
    same = [member for member in front.members if member.key == before.key]
    if same or any(name not in before.metrics for name in front.objectives if name != "accuracy"):
        return same[0] if same else front.knee()
    place = front.point(before)
    return min(front.members, key=lambda member: math.dist(front.point(member), place), default=None)
