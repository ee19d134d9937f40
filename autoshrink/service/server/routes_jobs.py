"""The routes of jobs: submit, list, show, follow, cancel and resume."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from typing import IO, Annotated, Any

from fastapi import FastAPI, Header, HTTPException, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from autoshrink.core import AutoshrinkError, Target
from autoshrink.service.server.checks import check_project, with_settings
from autoshrink.service.server.needs import Here, Known, Reader, Submitter
from autoshrink.service.server.queue import Job, State, Submission, new_id
from autoshrink.service.server.service import Service
from autoshrink.service.server.shapes import Candidates, Jobs, JobShown, Problem, Time, Wish

__all__ = ["add_job_routes", "in_words"]

_MOST_FOLLOWERS = 1000
_ARCHIVE = "application/zip"
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": Wish.model_json_schema()},
            _ARCHIVE: {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events: state, candidate and at last end.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}
Key = Annotated[
    str | None,
    Header(alias="Idempotency-Key", min_length=1, max_length=255, description="sent twice, it gives the same job"),
]


def add_job_routes(app: FastAPI) -> None:
    """Add the routes to an application."""
    app.post(
        "/v1/jobs",
        status_code=201,
        openapi_extra=_BODY,
        responses={200: {"model": JobShown}, 413: {"model": Problem}, 415: {"model": Problem}},
    )(submit)
    app.get("/v1/jobs")(list_jobs)
    app.get("/v1/jobs/{job}")(show_job)
    app.get("/v1/jobs/{job}/events", response_class=StreamingResponse, responses=_EVENTS)(follow_job)
    app.post("/v1/jobs/{job}/cancel")(cancel_job)
    app.post("/v1/jobs/{job}/resume")(resume_job)


async def submit(
    request: Request,
    response: Response,
    visit: Submitter,
    service: Here,
    candidates: Annotated[Candidates | None, Query()] = None,
    time: Annotated[Time | None, Query()] = None,
    key: Key = None,
) -> JobShown:
    """Submit a target: the path of one on this machine, or an archive that holds one."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    digest = hashlib.sha256(json.dumps([kind, candidates, time]).encode())
    identity = {"id": new_id(), "by": visit.who, "key": key}
    if kind == _ARCHIVE:
        with await run_in_threadpool(service.uploads.room) as archive:
            async for block in request.stream():
                digest.update(block)
                archive.write(block)
            identity["body"] = digest.hexdigest()
            settings = (candidates, time)
            job, new = await run_in_threadpool(_take_archive, service, archive, settings, identity)
    elif kind == "application/json":
        content = await request.body()
        digest.update(content)
        identity["body"] = digest.hexdigest()
        try:
            wish = Wish.model_validate_json(content)
        except ValidationError as error:
            raise HTTPException(422, in_words(error.errors())) from None
        settings = (candidates or wish.candidates, time or wish.time)
        job, new = await run_in_threadpool(_take_path, service, wish.target, settings, identity)
    else:
        raise HTTPException(415, f"send application/json or {_ARCHIVE}, not {kind[:80] or 'nothing'}")
    visit.job = job.id
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return JobShown.of(job)


def _take_archive(
    service: Service, archive: IO[bytes], settings: tuple[int | None, str | None], identity: dict[str, Any]
) -> tuple[Job, bool]:
    target, _ = service.uploads.unpack(archive, identity["id"])
    try:
        job, new = _queue(service, with_settings(target, *settings), "target.yaml", True, identity)
    except AutoshrinkError:  # and no other: a database that went away may have taken it
        service.uploads.drop(identity["id"])
        raise
    if not new:
        service.uploads.drop(identity["id"])
    return job, new


def _take_path(
    service: Service, path: str, settings: tuple[int | None, str | None], identity: dict[str, Any]
) -> tuple[Job, bool]:
    target = with_settings(check_project(path, service.rules.places), *settings)
    return _queue(service, target, path, False, identity)


def _queue(service: Service, target: Target, written: str, upload: bool, identity: dict[str, Any]) -> tuple[Job, bool]:
    wish = Submission(
        name=target.name,
        target=written,
        file=target.source.name,
        folder=str(target.source.folder),
        document=target.to_yaml(),
        wanted=target.search.candidates,
        upload=upload,
        **identity,
    )
    return service.queue.submit(wish)


def list_jobs(
    visit: Reader,
    service: Here,
    state: State | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    after: Annotated[
        str | None, Query(pattern="^j[0-9a-f]{12}$", description="the last job of the page before")
    ] = None,
) -> Jobs:
    """List the jobs, the newest first."""
    found = service.queue.page(state, limit + 1, after)
    more = found[limit - 1].id if len(found) > limit else None
    return Jobs(jobs=[JobShown.of(job) for job in found[:limit]], next=more)


def show_job(visit: Reader, job: Known, service: Here) -> JobShown:
    """Show a job and how far it is."""
    return JobShown.of(job, service.records.progress(job.id))


async def follow_job(
    visit: Reader,
    job: Known,
    service: Here,
    last: Annotated[str | None, Header(alias="Last-Event-ID", description="goes on behind this event")] = None,
) -> StreamingResponse:
    """Follow a job's events until it has ended."""
    if service.feeds.followers >= _MOST_FOLLOWERS:
        raise HTTPException(503, "too many streams are open already", {"Retry-After": "30"})
    place = int(last) if last and last.isascii() and last.isdigit() and len(last) < 16 else 0

    def allowed() -> bool:
        return service.tokens.find(visit.secret) is not None

    events: AsyncIterator[str] = service.feeds.follow(job.id, place, allowed)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


def cancel_job(visit: Submitter, job: Known, service: Here) -> JobShown:
    """Cancel a job that waits or runs; what it has found is kept."""
    return JobShown.of(service.queue.cancel(job.id))


def resume_job(visit: Submitter, job: Known, service: Here) -> JobShown:
    """Queue a job again that was cancelled, failed, or found no front."""
    return JobShown.of(service.queue.resume(job.id))


def in_words(errors: Any) -> str:
    """Say in one line what is wrong with a request."""
    return "; ".join(f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}".lstrip(": ") for error in errors)
