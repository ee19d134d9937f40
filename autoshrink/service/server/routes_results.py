"""The routes of what a search has found: its front, its files, and the pick."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import IO, Annotated, Any

from fastapi import FastAPI, HTTPException, Path
from fastapi.responses import StreamingResponse

from autoshrink.service.picking import choose
from autoshrink.service.server.needs import Here, Known, Reader, Submitter
from autoshrink.service.server.queue import ENDED, Job
from autoshrink.service.server.service import Service
from autoshrink.service.server.shapes import Picked, PickWish

__all__ = ["add_result_routes"]

_BLOCK = 1 << 18
_PATIENCE = 300.0
"""Seconds that a registration may take."""
_ZIPPED: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}
}
_STATUS = {2: 422, 3: 409, 4: 503}
"""What is answered by the exit code of ``autoshrink pick``."""


def add_result_routes(app: FastAPI) -> None:
    """Add the routes to an application."""
    app.get("/v1/jobs/{job}/front")(show_front)
    app.get("/v1/jobs/{job}/artifacts/{candidate}", response_class=StreamingResponse, responses=_ZIPPED)(fetch_artifact)
    app.post("/v1/jobs/{job}/pick")(pick)


def show_front(visit: Reader, job: Known, service: Here) -> dict[str, Any]:
    """Give the search's document, as ``autoshrink search --json`` writes it; of one that runs as it stands."""
    return service.records.front(job.id, job.state in ENDED)


def fetch_artifact(
    visit: Reader, job: Known, service: Here, candidate: Annotated[int, Path(ge=0, le=2**31)]
) -> StreamingResponse:
    """Give a candidate's files with its recipe and figures, as a zip archive."""
    packed = service.records.artifact(job.id, candidate)
    size = packed.seek(0, 2)
    packed.seek(0)
    name = f'attachment; filename="{job.id}-{candidate}.zip"'
    headers = {"Content-Length": str(size), "Content-Disposition": name}
    return StreamingResponse(_blocks(packed), media_type="application/zip", headers=headers)


def pick(visit: Submitter, job: Known, service: Here, wish: PickWish) -> Picked:
    """Take a candidate, and register it in MLflow if wished, as ``autoshrink pick`` does."""
    if wish.alias is not None and wish.register_as is None:
        raise HTTPException(422, "alias: names a version of a registered model: give 'register' as well")
    chosen = choose(service.records.judged(job.id)[0], wish.candidate, wish.prefer)
    if wish.register_as is not None:
        return Picked(job=job.id, **_registered(service, job, chosen.id, wish))
    service.records.store(job.id).keep_pick(chosen.id)
    return Picked(job=job.id, candidate=chosen.id, recipe=chosen.recipe.describe())


def _registered(service: Service, job: Job, number: int, wish: PickWish) -> dict[str, Any]:
    # In a process of its own: MLflow takes long to import, and its memory would stay.
    command = [sys.executable, "-m", "autoshrink", "pick", job.id, str(number), "--json", "--store", str(service.root)]
    command += [f"--register={wish.register_as}", *([f"--alias={wish.alias}"] if wish.alias is not None else [])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise HTTPException(503, f"MLflow did not answer for {_PATIENCE:g} s") from None
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise HTTPException(
            _STATUS.get(done.returncode, 502), f"can't be registered: {said[0].removeprefix('error: ')}"
        )
    taken = json.loads(done.stdout)
    return {name: str(taken[name]) if name == "version" else taken[name] for name in taken if name != "search"}


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while block := file.read(_BLOCK):
            yield block
