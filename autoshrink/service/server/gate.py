"""The gate that every request passes: who asks, how often, how much is sent; and what is counted and audited of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autoshrink.service.server.service import Service
from autoshrink.service.server.tokens import Token

__all__ = ["OPEN", "Gate", "Visit"]

OPEN = ("/healthz", "/readyz")
"""What anybody may ask."""
_CHANGES = ("POST", "PUT", "PATCH", "DELETE")
_MOST_WORDS = 1 << 20
"""Bytes of a JSON body."""
_DENIED = (401, 403)
_STRANGER = "-"


@dataclass
class Visit:
    """One request as the gate and its route know it."""

    address: str
    secret: str = ""
    token: Token | None = None
    job: str | None = None
    """The job that it is about, for the audit log."""
    begun: float = field(default_factory=time.perf_counter)

    @property
    def who(self) -> str:
        """The token's name."""
        return self.token.name if self.token is not None else _STRANGER


class Gate:
    """Stands before the routes, as ASGI middleware: a stream's answer passes through as it comes."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit = Visit((scope.get("client") or ("?",))[0], _bearer(scope))
        scope["autoshrink"] = visit
        begun = False

        async def answer(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                await self._note(scope, visit, message["status"])
            await send(message)

        try:
            refusal = await self._refusal(scope, visit)
            if refusal is not None:
                await refusal(scope, receive, answer)
            else:
                await self._app(scope, self._counted(receive, self._limit(scope)), answer)
        except Exception:
            if not begun:
                await self._note(scope, visit, 500)
            raise

    async def _refusal(self, scope: Scope, visit: Visit) -> JSONResponse | None:
        """Answer who may not pass; None for who may."""
        path = scope["path"]
        if path in OPEN:
            return None
        service = self._service
        try:
            visit.token = await run_in_threadpool(service.tokens.find, visit.secret)
        except SQLAlchemyError:
            return problem(503, "the database does not answer", {"Retry-After": "5"})
        submits = (scope["method"], path) == ("POST", "/v1/jobs")
        buckets = service.submissions if submits and visit.token is not None else service.requests
        # Strangers share a bucket by address, so that their guesses don't fill the audit log.
        wait = buckets.take(f"address {visit.address}" if visit.token is None else visit.who)
        if wait:
            return problem(429, "too many requests in a minute", {"Retry-After": str(int(wait) + 1)})
        if visit.token is None:
            words = "this token is wrong, has expired or was revoked" if visit.secret else "a token is needed"
            return problem(401, f"{words}: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})
        return _too_long(scope, self._limit(scope))

    def _limit(self, scope: Scope) -> int:
        """Give how many bytes a body may have: what is no archive is small."""
        kind = dict(scope["headers"]).get(b"content-type", b"").partition(b";")[0].strip().lower()
        most = self._service.rules.body_limit
        return most if kind == b"application/zip" else min(most, _MOST_WORDS)

    def _counted(self, receive: Receive, limit: int) -> Receive:
        """Count the body's bytes as they come: what the header says of them may be anything."""
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise HTTPException(413, f"the body is larger than {limit} bytes", {"Connection": "close"})
            return message

        return counted

    async def _note(self, scope: Scope, visit: Visit, status: int) -> None:
        route = getattr(scope.get("route"), "path", "other")
        method = scope["method"] if scope["method"] in (*_CHANGES, "GET", "HEAD") else "other"
        self._service.figures.count(route, method, status, time.perf_counter() - visit.begun)
        if status in _DENIED or (method in _CHANGES and status != 429):
            action = f"{method} {repr(scope['path'][:200]) if route == 'other' else route}"
            job = visit.job or scope.get("path_params", {}).get("job")
            audit = self._service.audit
            await run_in_threadpool(audit.write, visit.who, action, job and job[:64], visit.address, str(status))


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Make the answer that says what is wrong, in one line."""
    return JSONResponse({"detail": detail}, status, headers)


def _bearer(scope: Scope) -> str:
    given: dict[bytes, Any] = dict(scope["headers"])
    kind, _, secret = given.get(b"authorization", b"").decode("latin-1").partition(" ")
    return secret.strip() if kind.lower() == "bearer" else ""


def _too_long(scope: Scope, limit: int) -> JSONResponse | None:
    length = dict(scope["headers"]).get(b"content-length", b"0")
    if length.isdigit() and int(length) > limit:
        return problem(413, f"the body is larger than {limit} bytes", {"Connection": "close"})
    return None
