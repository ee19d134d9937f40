"""Picking: a candidate that MLflow holds becomes a version of a registered model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from autoshrink.tracking.card import card_of, loading
from autoshrink.tracking.points import MODEL

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["ClientRegistry", "Picked", "Registry", "model_in", "pick"]


@dataclass(frozen=True)
class Picked:
    """A version of a registered model."""

    model: str
    version: str
    alias: str | None
    uri: str
    """What MLflow loads it by."""
    line: str
    """The line of Python that loads it."""


class Registry(Protocol):
    """MLflow's runs and registered models, through whatever door, with the permissions of whoever asks."""

    def tags(self, run: str) -> Mapping[str, str]:
        """Give the tags of a run."""

    def source(self, run: str, model: str) -> tuple[str, str]:
        """Say where the files of a model are, and whose run they belong to; a run's own artifacts without a model."""

    def create_model(self, name: str) -> None:
        """Make a registered model, if there is none of this name."""

    def versions(self, run: str) -> list[tuple[str, str]]:
        """List the versions that were made of a run: model and version."""

    def create_version(self, name: str, source: str, run: str, model: str, tags: Mapping[str, str], text: str) -> str:
        """Make a version with tags and a description; gives its number."""

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Give a version an alias, which any other version loses."""


def pick(registry: Registry, run: str, name: str, alias: str | None = None, prefer: str = "") -> Picked:
    """Register a candidate as a version of a model; the same candidate is not registered twice.

    Args:
        registry: MLflow, as the one who picks may use it.
        run: the candidate's.
        name: the registered model's; it is made when there is none.
        alias: a name that this version gets, and any other loses.
        prefer: what it was picked by; empty where it was named.

    Raises:
        ValueError: MLflow does not hold the candidate's files.
    """
    about = registry.tags(run)
    address, parent = about.get(MODEL, ""), about.get("mlflow.parentRunId", "")
    if not address or not parent:
        number = about.get("autoshrink.candidate", "NUMBER")
        raise ValueError(
            "MLflow has no files of this candidate: a search sends those of its front when it ends; any other is sent "
            f"by 'autoshrink pick NAME {number} --register MODEL' where the search ran"
        )
    model = model_in(address)
    card = card_of(registry.tags(parent), about)
    source, owner = registry.source(run, model)
    if owner != run:  # whoever may write a tag may write anything into it
        raise ValueError("this run names the model of another run as its own")
    registry.create_model(name)
    known = [version for owner, version in registry.versions(run) if owner == name]
    tags = {**card.tags, "autoshrink.prefer": prefer} if prefer else card.tags
    version = known[0] if known else registry.create_version(name, source, run, model, tags, card.description)
    if alias is not None:
        registry.set_alias(name, alias, version)
    uri = f"models:/{name}@{alias}" if alias is not None else f"models:/{name}/{version}"
    return Picked(name, version, alias, uri, loading(about.get("autoshrink.backend", ""), uri))


def model_in(address: str) -> str:
    """Read the id of an MLflow model from its address; empty for a run's artifacts, and for what is no address."""
    found = re.fullmatch(r"models:/([\w-]+)", address)
    return found[1] if found else ""


class ClientRegistry:
    """MLflow through its own client."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def tags(self, run: str) -> Mapping[str, str]:
        """Give the tags of a run."""
        tags: dict[str, str] = self._client.get_run(run).data.tags
        return tags

    def source(self, run: str, model: str) -> tuple[str, str]:
        """Say where the files are: not as "models:/ID", which MLflow looks up in the process's default store."""
        if model:
            found = self._client.get_logged_model(model)
            return str(found.artifact_location), str(found.source_run_id)
        return f"{self._client.get_run(run).info.artifact_uri}/artifact", run

    def create_model(self, name: str) -> None:
        """Make a registered model, if there is none of this name."""
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def versions(self, run: str) -> list[tuple[str, str]]:
        """List the versions that were made of a run."""
        return [(item.name, str(item.version)) for item in self._client.search_model_versions(f"run_id = '{run}'")]

    def create_version(self, name: str, source: str, run: str, model: str, tags: Mapping[str, str], text: str) -> str:
        """Make a version with tags and a description."""
        made = self._client.create_model_version(
            name, source, run, tags=dict(tags), description=text, model_id=model or None
        )
        return str(made.version)

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Give a version an alias."""
        self._client.set_registered_model_alias(name, alias, version)
