"""Whoever looks at the view, before MLflow: each question goes to MLflow's own interface with the caller's credentials.

So the view needs no permissions of its own and gives none away: what basic authentication, a plugin or a workspace
denies there is denied here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

if TYPE_CHECKING:
    from flask import Flask

__all__ = ["Caller", "CallerRegistry", "Denied", "static_prefix"]

_PASSED_ON = ("authorization", "cookie", "host", "x-mlflow-workspace")


class Denied(Exception):
    """MLflow did not do what the caller asked for."""

    def __init__(self, status: int, code: str, message: str, challenge: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.challenge = challenge
        """The ``WWW-Authenticate`` header, which makes a browser ask for name and password."""


class Caller:
    """One request's credentials."""

    def __init__(self, app: Flask, headers: Mapping[str, str]) -> None:
        self._app = app
        self._headers = {name: headers[name] for name in _PASSED_ON if name in headers}

    def ask(self, method: str, endpoint: str, /, **fields: Any) -> dict[str, Any]:
        """Call MLflow's REST interface.

        Args:
            method: GET, POST or PATCH.
            endpoint: behind ``/api/2.0/mlflow/``.
            fields: the query or the JSON body.

        Raises:
            Denied: MLflow refuses, for whatever reason.
        """
        query = "?" + urlencode(fields, doseq=True) if method == "GET" and fields else ""
        content = self._open(method, f"/api/2.0/mlflow/{endpoint}{query}", None if method == "GET" else fields)
        answer: dict[str, Any] = json.loads(content or b"{}")
        return answer

    def file(self, path: str) -> bytes:
        """Fetch a file that MLflow serves.

        Raises:
            Denied: MLflow refuses.
        """
        return self._open("GET", path, None)

    def _open(self, method: str, path: str, body: Mapping[str, Any] | None) -> bytes:
        with self._app.test_client(use_cookies=False) as client:
            answer = client.open(static_prefix() + path, method=method, headers=self._headers, json=body)
            content: bytes = answer.get_data()
        if answer.status_code >= 400:
            raise _denied(answer.status_code, content, answer.headers.get("WWW-Authenticate", ""))
        return content


def static_prefix() -> str:
    """Give what ``mlflow server --static-prefix`` puts before every path."""
    from mlflow.server.handlers import STATIC_PREFIX_ENV_VAR

    return os.environ.get(STATIC_PREFIX_ENV_VAR, "").rstrip("/")


class CallerRegistry:
    """MLflow's registry with the caller's permissions."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def tags(self, run: str) -> Mapping[str, str]:
        """Give the tags of a run."""
        data = self._caller.ask("GET", "runs/get", run_id=run)["run"].get("data", {})
        return {tag["key"]: tag["value"] for tag in data.get("tags", [])}

    def source(self, run: str, model: str) -> tuple[str, str]:
        """Say where the files of a model are, and whose run they belong to."""
        if model:
            info = self._caller.ask("GET", f"logged-models/{model}")["model"]["info"]
            return str(info["artifact_uri"]), str(info.get("source_run_id", ""))
        return f"{self._caller.ask('GET', 'runs/get', run_id=run)['run']['info']['artifact_uri']}/artifact", run

    def create_model(self, name: str) -> None:
        """Make a registered model, if there is none of this name."""
        try:
            self._caller.ask("POST", "registered-models/create", name=name)
        except Denied as denied:
            if denied.code != "RESOURCE_ALREADY_EXISTS":
                raise

    def versions(self, run: str) -> list[tuple[str, str]]:
        """List the versions that were made of a run."""
        found = self._caller.ask("GET", "model-versions/search", filter=f"run_id = '{run}'")
        return [(item["name"], str(item["version"])) for item in found.get("model_versions", [])]

    def create_version(self, name: str, source: str, run: str, model: str, tags: Mapping[str, str], text: str) -> str:
        """Make a version with tags and a description."""
        fields: dict[str, Any] = {"name": name, "source": source, "run_id": run, "description": text}
        fields["tags"] = [{"key": key, "value": value} for key, value in tags.items()]
        fields |= {"model_id": model} if model else {}
        made = self._caller.ask("POST", "model-versions/create", **fields)
        return str(made["model_version"]["version"])

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Give a version an alias."""
        self._caller.ask("POST", "registered-models/alias", name=name, alias=alias, version=version)


def _denied(status: int, content: bytes, challenge: str) -> Denied:
    try:
        told = json.loads(content)
        return Denied(status, str(told["error_code"]), str(told.get("message", "")), challenge)
    except (ValueError, KeyError, TypeError):
        return Denied(status, "", content.decode(errors="replace")[:300], challenge)
