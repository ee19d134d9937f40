"""Puts a picked candidate of a search on this machine into MLflow's model registry."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoshrink.core import AutoshrinkError, Candidate, Front, SpecError, Target
from autoshrink.tracking.cursor import Cursor
from autoshrink.tracking.ledger import Ledger, outages, quiet
from autoshrink.tracking.models import put_artifact
from autoshrink.tracking.points import BRIEF, brief_of
from autoshrink.tracking.records import record_of, target_params
from autoshrink.tracking.registry import ClientRegistry, Picked, pick

__all__ = ["register"]


def register(
    folder: Path,
    target: Target,
    front: Front,
    candidate: Candidate,
    files: Path,
    model: str,
    alias: str | None = None,
    fingerprint: Mapping[str, Any] | None = None,
    prefer: str = "",
) -> Picked:
    """Make a candidate a version of a registered model; the same candidate is not registered twice.

    Args:
        folder: the search's own.
        target: the search's.
        front: all candidates of the search, judged.
        candidate: with an artifact.
        files: the folder of the artifact's files.
        model: the registered model's name; made when there is none.
        alias: a name that this version gets, and any other loses.
        fingerprint: of the device that the search measured on.
        prefer: what it was picked by, so that its successor is picked alike; empty where it was named.

    Raises:
        SpecError: MLflow does not accept the name or the alias.
        AutoshrinkError: MLflow can't be reached.
    """
    from mlflow.exceptions import MlflowException

    ledger = Ledger(Cursor.open(folder), target.name, folder.name)
    standing = next(item for item in front.judged if item.candidate.id == candidate.id)
    brief = brief_of(target, front.limits, fingerprint or {}, front.judged[0].candidate)
    with quiet():
        try:
            ledger.open(target_params(target), {BRIEF: brief}, running=False)
            run = ledger.put(candidate.id, record_of(candidate, standing.state, standing.reason))
            put_artifact(ledger, candidate, files, target.hardware)
            return pick(ClientRegistry(ledger.client), run, model, alias, prefer)
        except outages() as error:
            if isinstance(error, MlflowException) and error.error_code == "INVALID_PARAMETER_VALUE":
                raise SpecError(f"MLflow refuses to register {model!r}: {error.message}") from None
            raise AutoshrinkError(f"MLflow at {ledger.cursor.uri} can't be written to: {error}") from None
