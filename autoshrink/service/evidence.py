"""What is known of one candidate beside its figures: where it answers otherwise, and how far its weights are off."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load

from autoshrink.backends.registry import backend
from autoshrink.core import AutoshrinkError, Candidate, SpecError, Target
from autoshrink.models.comparison import Case, Classes, Values, compare, truth_of
from autoshrink.search.cache import Cache
from autoshrink.search.flight import Lesson
from autoshrink.search.reuse import Reuse
from autoshrink.search.store import Store
from autoshrink.search.work import measure_artifact, workload_of
from autoshrink.techniques.base import Stage
from autoshrink.techniques.pipeline import compress
from autoshrink.techniques.registry import technique, until
from autoshrink.techniques.weight_errors import WeightError, float_weights, weight_errors
from autoshrink.tracking.report.material import Evidence
from autoshrink.tracking.report.thumbnails import thumbnail

if TYPE_CHECKING:
    from autoshrink.models.workload import Workload

__all__ = ["evidence_of"]

_PICTURES = 12
_BROKEN = (AutoshrinkError, OSError, RuntimeError, SafetensorError)
"""What a file that was kept, or a model that is built again, can fail with."""
_LATER = (
    "Not found out at the end of the search, which would have taken time: 'autoshrink front {} --report FILE' does it."
)


class _Missing(Exception):
    """Why a part is missing, in a sentence."""


def evidence_of(
    store: Store, target: Target, candidate: Candidate, original: Candidate, *, thorough: bool = True
) -> Evidence:
    """Find out what there is; what there is not, for want of a file, the model or the device, is a reason instead.

    Args:
        store: the search's.
        target: what was searched for.
        candidate: the one that is described.
        original: candidate 0.
        thorough: whether to run files on the device and to build a model again where something is not kept.
    """
    if candidate.id == original.id:
        same = "This is the original model itself."
        return Evidence(same, weights=same)
    if candidate.artifact is None:
        none = f"Not known: candidate {candidate.id} was {candidate.outcome} before it was made in full."
        return Evidence(none, weights=none)
    try:
        workload = _workload(store, target)
    except _Missing as reason:
        return Evidence(str(reason), weights=str(reason))
    pictures: dict[int, bytes] = {}
    comparison: Classes | Values | str
    try:
        before, after = (_answers(store, target, item, thorough) for item in (original, candidate))
        comparison = _compared(before, after, workload)
        pictures = _pictures(workload, comparison.cases)
    except _Missing as reason:
        comparison = str(reason)
    weights: tuple[WeightError, ...] | str
    try:
        weights = _weights(store, target, candidate, workload, thorough)
    except _Missing as reason:
        weights = str(reason)
    return Evidence(comparison, pictures, weights)


def _workload(store: Store, target: Target) -> Workload:
    try:
        workload = workload_of(target)
    except SpecError as error:
        raise _Missing(f"Not known: the model or its data can't be loaded any more ({error}).") from None
    then = store.read_json("workload.json")
    if then is not None and then["key"] != workload.key:
        raise _Missing("Not known: the model, its weights or its data are not those of the search any more.")
    return workload


def _answers(store: Store, target: Target, candidate: Candidate, thorough: bool) -> np.ndarray:
    """Read what a candidate answered when it was confirmed, or ask it now."""
    artifact = candidate.artifact
    if artifact is None:
        raise _Missing(f"Not known: candidate {candidate.id} has no file.")
    kept = store.answers(artifact.key)
    if kept is not None:
        return kept
    if not thorough:
        raise _Missing(_LATER.format(store.name))
    files = store.find_artifact(artifact)
    if files is None:
        raise _Missing(f"Not known: the files of candidate {candidate.id} are gone.")
    try:
        with tempfile.TemporaryDirectory(prefix="autoshrink-") as scratch:
            found = measure_artifact(target, artifact, files, splits=("test",), wants=(), scratch=Path(scratch))
    except AutoshrinkError as error:
        raise _Missing(f"Not known: the device can't be asked ({error}).") from None
    if found.answers is None:
        raise _Missing("Not known: the answers are too many numbers to be kept.")
    store.keep_answers(artifact.key, found.answers)
    return found.answers


def _compared(before: np.ndarray, after: np.ndarray, workload: Workload) -> Classes | Values:
    try:
        return compare(before, after, truth_of(workload))
    except ValueError as error:
        raise _Missing(f"Not known: the answers that were kept don't fit the test data ({error}).") from None


def _pictures(workload: Workload, cases: Sequence[Case]) -> dict[int, bytes]:
    """Draw the examples that are listed first, from the first input that can be seen as a picture."""
    pictures: dict[int, bytes] = {}
    for array in workload.test.arrays():
        low, high = float(array.min()), float(array.max())
        for case in cases[:_PICTURES]:
            drawn = thumbnail(array[case.index], low, high)
            if drawn is not None:
                pictures[case.index] = drawn
        if pictures:
            break
    return pictures


def _weights(
    store: Store, target: Target, candidate: Candidate, workload: Workload, thorough: bool
) -> tuple[WeightError, ...]:
    assert candidate.artifact is not None
    known, trained = _recovered(store, target, candidate, workload)
    if trained and known is None:
        raise _Missing(
            "Not known: the weights before the encoding are not kept any more, and training is not done again."
        )
    shaped = any(technique(step.kind).stage is Stage.STRUCTURE for step in candidate.recipe.steps)
    if shaped and known is None and not thorough:
        raise _Missing(_LATER.format(store.name))
    runtime = backend(target.hardware.backend)
    try:
        stored = runtime.weights(store.artifact_folder(candidate), candidate.artifact)
        if stored is None:
            raise _Missing(f"Not known: the weights can't be read back from files of the runtime {runtime.kind}.")
        before = load(known) if known is not None else None
        made = compress(until(candidate.recipe, Stage.RECOVERY), workload, target.search.seed, known=before)
    except _BROKEN as error:
        raise _Missing(f"Not known: the weights can't be compared ({error}).") from None
    return weight_errors(float_weights(made.model, workload.example), stored)


def _recovered(store: Store, target: Target, candidate: Candidate, workload: Workload) -> tuple[bytes | None, bool]:
    """Look up the weights that a candidate's recovery gave, and say whether it has one."""
    if not any(technique(step.kind).stage is Stage.RECOVERY for step in candidate.recipe.steps):
        return None, False
    reuse = Reuse(Cache(store.folder.parent, workload.key), "", target.search.seed)
    return reuse.recovered(Lesson.of(candidate.recipe)), True
