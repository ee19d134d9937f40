"""The service's application: its routes, and what is answered when something is wrong."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from autoshrink import __version__
from autoshrink.core import AutoshrinkError, BackendUnavailable, DeviceError, SpecError
from autoshrink.service.server.gate import Gate, problem
from autoshrink.service.server.progress import NotYetError, UnknownError
from autoshrink.service.server.queue import FullError, WrongStateError
from autoshrink.service.server.routes_admin import add_admin_routes
from autoshrink.service.server.routes_jobs import add_job_routes, in_words
from autoshrink.service.server.routes_results import add_result_routes
from autoshrink.service.server.service import Service
from autoshrink.service.server.shapes import Problem

__all__ = ["create_app"]

_STATUS: dict[type[Exception], int] = {
    SpecError: 422,
    WrongStateError: 409,
    NotYetError: 409,
    UnknownError: 404,
    FullError: 503,
    BackendUnavailable: 503,
    DeviceError: 503,
    AutoshrinkError: 500,
    SQLAlchemyError: 503,
    ClientDisconnect: 400,
}
_WORDS: dict[type[Exception], str] = {
    SQLAlchemyError: "the database does not answer",
    ClientDisconnect: "the body ended too soon",
}
_LATER = {503: {"Retry-After": "10"}}

_log = logging.getLogger(__name__)


def create_app(service: Service) -> FastAPI:
    """Make the application; while it is up, jobs are moved on and followers are told."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.dispatcher.start()
        telling = asyncio.create_task(service.feeds.run())
        yield
        service.feeds.stop()
        telling.cancel()
        await asyncio.to_thread(service.dispatcher.stop)

    app = FastAPI(
        title="autoshrink",
        version=__version__,
        description="Searches for compressed models: submit, follow, cancel, fetch.",
        lifespan=lifespan,
        generate_unique_id_function=lambda route: route.name,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        responses={code: {"model": Problem} for code in (400, 401, 403, 404, 409, 422, 429)},
    )
    app.state.service = service
    app.add_middleware(cast("Any", Gate), service=service)
    add_job_routes(app)
    add_result_routes(app)
    add_admin_routes(app)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _malformed)
    for kind in _STATUS:
        app.add_exception_handler(kind, _wrong)
    app.add_exception_handler(Exception, _broken)
    return app


async def _refused(request: Request, error: Exception) -> JSONResponse:
    refused = cast("HTTPException", error)
    return problem(refused.status_code, refused.detail, dict(refused.headers or {}))


async def _malformed(request: Request, error: Exception) -> JSONResponse:
    return problem(422, in_words(cast("RequestValidationError", error).errors()))


async def _wrong(request: Request, error: Exception) -> JSONResponse:
    kind = next(kind for kind in type(error).__mro__ if kind in _STATUS)
    status = _STATUS[kind]
    if status >= 500:
        _log.warning("%s %s: %s", request.method, request.url.path, error)
    words = _WORDS.get(kind) or "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
    return problem(status, words, _LATER.get(status))


async def _broken(request: Request, error: Exception) -> JSONResponse:
    return problem(500, "the service has a bug: its log has the traceback")
