"""The view's addresses: pages, what they read as JSON, and picking."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles

from autoshrink.core import AutoshrinkError
from autoshrink.tracking.points import BRIEF, MODEL
from autoshrink.tracking.registry import model_in, pick
from autoshrink.tracking.view import files, reading
from autoshrink.tracking.view.caller import Caller, CallerRegistry, Denied
from autoshrink.tracking.view.guard import Headers, demand_same_origin
from autoshrink.tracking.view.progress import figures_so_far, history

if TYPE_CHECKING:
    from flask import Flask

__all__ = ["view_app"]

_STATIC = Path(__file__).parent / "static"
_OVERLAP = 10_000
"""Milliseconds before the last news that are read again: candidates need not arrive in the order of their clocks."""
_LIVE, _LIVE_CANDIDATES = 8, 2000
"""Searches under way that the list judges, and up to which size."""
_CHUNK = 1 << 20


class Wish(BaseModel):
    """What the page's button asks for."""

    model_config = ConfigDict(extra="forbid")

    run: str = Field(pattern=r"^[0-9A-Za-z]+$")
    model: str = Field(min_length=1, max_length=256)
    alias: str | None = Field(default=None, max_length=256)
    prefer: Literal["", "knee", "accuracy", "latency", "size", "memory", "energy"] = ""


def view_app(flask_app: Flask) -> FastAPI:
    """Make the view's application.

    Args:
        flask_app: MLflow's own, which is asked with each caller's credentials.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(GZipMiddleware, minimum_size=20_000, compresslevel=1)
    app.add_middleware(Headers)
    app.add_exception_handler(Denied, _say_denied)
    app.add_exception_handler(AutoshrinkError, _say_error)
    app.add_exception_handler(ValueError, _say_error)

    def caller_of(request: Request) -> Caller:
        return Caller(flask_app, dict(request.headers))

    @app.get("/")
    def list_page(request: Request) -> Response:
        caller_of(request).ask("GET", "experiments/search", max_results=1)  # a browser asks for a password here
        return FileResponse(_STATIC / "list.html")

    @app.get("/searches/{run}")
    def search_page(request: Request, run: str) -> Response:
        caller_of(request).ask("GET", "experiments/search", max_results=1)
        return FileResponse(_STATIC / "search.html")

    @app.get("/api/searches")
    def list_searches(request: Request) -> Response:
        demand_same_origin(request)
        found = reading.searches(_experiments(caller_of(request)))
        for search in [item for item in found if item["status"] == "RUNNING"][:_LIVE]:
            if reading.standing(search["run"]).count <= _LIVE_CANDIDATES:
                search["metrics"] |= figures_so_far(search["brief"], reading.candidates(search["run"]).points)
        return JSONResponse({"searches": found})

    @app.get("/api/searches/{run}")
    def read_search(request: Request, run: str, count: int = -1, latest: int = 0, status: str = "") -> Response:
        demand_same_origin(request)
        search = _search(caller_of(request), run)
        now = reading.standing(run)
        if (now.count, now.latest, now.status) == (count, latest, status):
            return Response(b'{"unchanged":true}', media_type="application/json")
        since = max(latest - _OVERLAP, 0) if status == now.status and now.count >= count >= 0 else 0
        found = reading.candidates(run, since)
        head = json.dumps(
            {
                **search, "status": now.status, "count": now.count, "latest": now.latest, "whole": not since,
                "runs": found.runs, "ended": found.ended, "models": found.models,
            }
        )  # fmt: skip
        return Response(f'{head[:-1]},"points":[{",".join(found.points)}]}}', media_type="application/json")

    @app.get("/api/searches/{run}/history")
    def read_history(request: Request, run: str) -> Response:
        demand_same_origin(request)
        search = _search(caller_of(request), run)
        found = reading.candidates(run)
        trace = history(search["brief"], zip(found.ended, found.points, strict=True))
        return JSONResponse({"start": search["start"], "trace": trace})

    @app.get("/api/candidates/{run}/layers")
    def read_layers(request: Request, run: str) -> Response:
        demand_same_origin(request)
        return JSONResponse(files.layers(caller_of(request), run))

    @app.get("/api/candidates/{run}/files.zip")
    def send_files(request: Request, run: str) -> Response:
        demand_same_origin(request)
        caller = caller_of(request)
        about = CallerRegistry(caller).tags(run)
        name = f"candidate-{_digits(about.get('autoshrink.candidate', ''))}.zip"
        place = files.packed(caller, run, model_in(about.get(MODEL, "")))
        shown = {"Content-Disposition": f'attachment; filename="{name}"'}
        return StreamingResponse(_chunks(place), media_type="application/zip", headers=shown)

    @app.post("/api/pick")
    def pick_candidate(request: Request, wish: Wish) -> Response:
        demand_same_origin(request, strict=True)
        picked = pick(CallerRegistry(caller_of(request)), wish.run, wish.model, wish.alias or None, wish.prefer)
        return JSONResponse(asdict(picked))

    @app.get("/static/plotly.min.js")
    def send_plotly() -> Response:
        import plotly

        file = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
        return FileResponse(file, media_type="text/javascript", headers={"Cache-Control": "max-age=86400"})

    app.mount("/static", StaticFiles(directory=_STATIC))
    return app


def _experiments(caller: Caller) -> list[str]:
    """List the experiments that the caller may see."""
    found, token = [], ""
    while True:
        given = {"page_token": token} if token else {}
        page = caller.ask("GET", "experiments/search", max_results=1000, **given)
        found += [item["experiment_id"] for item in page.get("experiments", [])]
        token = page.get("next_page_token", "")
        if not token:
            return found


def _search(caller: Caller, run: str) -> dict[str, Any]:
    """Read the run of a search, if the caller may."""
    read = caller.ask("GET", "runs/get", run_id=run)["run"]
    tags = {tag["key"]: tag["value"] for tag in read.get("data", {}).get("tags", [])}
    try:
        brief = json.loads(tags[BRIEF])
    except (KeyError, ValueError):
        again = "'autoshrink search --resume NAME' sends it again"
        raise Denied(404, "", f"this run is no search, or an earlier version logged it: {again}") from None
    info = read["info"]
    about = {"run": run, "experiment": info["experiment_id"], "name": info.get("run_name", ""), "brief": brief}
    return {**about, "start": info.get("start_time"), "end": info.get("end_time")}


def _chunks(place: IO[bytes]) -> Iterator[bytes]:
    with place:
        while chunk := place.read(_CHUNK):
            yield chunk


def _digits(text: str) -> str:
    return "".join(letter for letter in text if letter in "0123456789")[:12]


def _say_denied(_: Request, denied: Exception) -> Response:
    assert isinstance(denied, Denied)
    headers = {"WWW-Authenticate": denied.challenge} if denied.challenge else {}
    return JSONResponse({"error": str(denied)}, denied.status, headers)


def _say_error(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 422)
