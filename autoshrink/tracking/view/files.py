"""The files of a candidate, fetched from MLflow with the caller's permissions."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Iterator
from typing import IO, Any
from urllib.parse import urlencode

from autoshrink.tracking.layers import LAYERS
from autoshrink.tracking.view.caller import Caller, Denied

__all__ = ["layers", "packed"]

_IN_MEMORY = 16_000_000


def layers(caller: Caller, run: str) -> dict[str, Any]:
    """Read the layers of a candidate, as `autoshrink.tracking.layers.layers_of` wrote them; empty where nobody did.

    Raises:
        Denied: the caller may not read the run.
    """
    listed = caller.ask("GET", "artifacts/list", run_id=run).get("files", [])
    if LAYERS not in {item["path"] for item in listed}:
        return {"layers": [], "counted": {}}
    read: dict[str, Any] = json.loads(caller.file("/get-artifact?" + urlencode({"run_id": run, "path": LAYERS})))
    return read


def packed(caller: Caller, run: str, model: str) -> IO[bytes]:
    """Pack a candidate's files as a ZIP archive.

    Args:
        caller: who asks.
        run: the candidate's.
        model: the MLflow model that holds its files; empty when the run's own artifacts do.

    Raises:
        Denied: the caller may not read them, or there are none.
    """
    place: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # whoever sends it closes it
    names = list(_model_files(caller, model, "") if model else _run_files(caller, run, "artifact"))
    if not names:
        raise Denied(404, "RESOURCE_DOES_NOT_EXIST", "MLflow has no files of this candidate")
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            if model:
                query = urlencode({"artifact_file_path": name})
                content = caller.file(f"/ajax-api/2.0/mlflow/logged-models/{model}/artifacts/files?{query}")
            else:
                content = caller.file("/get-artifact?" + urlencode({"run_id": run, "path": name}))
            archive.writestr(name.removeprefix("artifact/"), content)
    place.seek(0)
    return place


def _run_files(caller: Caller, run: str, path: str) -> Iterator[str]:
    for item in caller.ask("GET", "artifacts/list", run_id=run, path=path).get("files", []):
        yield from _run_files(caller, run, item["path"]) if item.get("is_dir") else (item["path"],)


def _model_files(caller: Caller, model: str, path: str) -> Iterator[str]:
    given = {"artifact_directory_path": path} if path else {}
    for item in caller.ask("GET", f"logged-models/{model}/artifacts/directories", **given).get("files", []):
        yield from _model_files(caller, model, item["path"]) if item.get("is_dir") else (item["path"],)
