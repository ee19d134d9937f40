"""Puts a picked candidate into MLflow's model registry."""

from __future__ import annotations

from pathlib import Path

from autoshrink.core import AutoshrinkError, Candidate, SpecError, Target
from autoshrink.tracking.cursor import Cursor
from autoshrink.tracking.ledger import Ledger, outages, quiet
from autoshrink.tracking.models import put_artifact
from autoshrink.tracking.records import record_of

__all__ = ["register"]


def register(
    folder: Path, target: Target, candidate: Candidate, files: Path, model: str, alias: str | None = None
) -> str:
    """Make a candidate a version of a registered model; the same candidate is not registered twice.

    Args:
        folder: the search's own.
        target: the search's.
        candidate: with an artifact.
        files: the folder of the artifact's files.
        model: the registered model's name; made when there is none.
        alias: a name that this version gets, and any other loses.

    Returns:
        What was done, for a person.

    Raises:
        SpecError: MLflow does not accept the name or the alias.
        AutoshrinkError: MLflow can't be reached.
    """
    from mlflow.exceptions import MlflowException

    ledger = Ledger(Cursor.open(folder), target.name, folder.name)
    with quiet():
        try:
            if not ledger.cursor.entry(candidate.id).figures:
                ledger.put(candidate.id, record_of(candidate))
            put_artifact(ledger, candidate, files, target.hardware)
            version = _version(ledger, candidate, model)
            if alias is not None:
                ledger.client.set_registered_model_alias(model, alias, version)
        except outages() as error:
            if isinstance(error, MlflowException) and error.error_code == "INVALID_PARAMETER_VALUE":
                raise SpecError(f"MLflow refuses to register {model!r}: {error.message}") from None
            raise AutoshrinkError(f"MLflow at {ledger.cursor.uri} can't be written to: {error}") from None
    named = f"models:/{model}@{alias}" if alias is not None else f"models:/{model}/{version}"
    return f"Registered as version {version} of {model!r}; load it with {named}"


def _version(ledger: Ledger, candidate: Candidate, model: str) -> str:
    from mlflow.exceptions import MlflowException

    client, entry = ledger.client, ledger.cursor.entry(candidate.id)
    try:
        client.create_registered_model(model)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    known = [item for item in client.search_model_versions(f"run_id = '{entry.run}'") if item.name == model]
    if known:
        return str(known[0].version)
    # Not "models:/ID": MLflow looks that up in whatever store is the process's default.
    source = client.get_logged_model(entry.model).artifact_location if entry.model else _artifacts_of(ledger, entry.run)
    tags = {"autoshrink.key": candidate.key, "autoshrink.candidate": str(candidate.id)}
    made = client.create_model_version(model, source, entry.run, tags=tags, model_id=entry.model or None)
    return str(made.version)


def _artifacts_of(ledger: Ledger, run: str | None) -> str:
    return f"{ledger.client.get_run(run).info.artifact_uri}/artifact"
