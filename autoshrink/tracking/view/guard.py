"""What keeps other sites away from the view, and scripts out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from autoshrink.tracking.view.caller import Denied

if TYPE_CHECKING:
    from fastapi import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Headers", "demand_same_origin"]

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    b"content-security-policy": _POLICY.encode(),
    b"cross-origin-resource-policy": b"same-origin",
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
}


class Headers:
    """Puts a strict Content-Security-Policy on everything: scripts and styles come from the package alone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [(name, value) for name, value in message.get("headers", []) if name.lower() not in _HEADERS]
                cached = {name.lower() for name, _ in kept} & {b"cache-control"}
                fresh = [] if cached else [(b"cache-control", b"no-cache")]
                message["headers"] = [*kept, *_HEADERS.items(), *fresh]
            await send(message)

        await self._app(scope, receive, with_headers)


def demand_same_origin(request: Request, *, strict: bool = False) -> None:
    """Refuse what another site's page asks for in the name of whoever is logged in here.

    Args:
        request: a browser says where it comes from, in headers that a page can't write.
        strict: something is changed: JSON alone, and from a page of this origin for certain.

    Raises:
        Denied: with the reason.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        same = site == "same-origin" or (site == "none" and not strict)
    elif origin is not None:
        same = urlsplit(origin).netloc == request.headers.get("host")
    else:
        same = not strict
    if not same:
        raise Denied(403, "PERMISSION_DENIED", "only a page of this server may ask for this")
    if strict and request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise Denied(415, "INVALID_PARAMETER_VALUE", "send JSON")
