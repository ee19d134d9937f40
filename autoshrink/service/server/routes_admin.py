"""The routes of who runs the service: its health, its figures, its tokens and its audit log."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Path, Query, Request, Response
from fastapi.responses import JSONResponse

from autoshrink.core import SpecError
from autoshrink.service.server.figures import TEXT
from autoshrink.service.server.needs import Admin, Here, Reader
from autoshrink.service.server.shapes import Made, Problem, TokenShown, TokenWish

__all__ = ["add_admin_routes"]

Name = Annotated[str, Path(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}$")]


def add_admin_routes(app: FastAPI) -> None:
    """Add the routes to an application."""
    app.get("/healthz")(alive)
    app.get("/readyz", responses={503: {"model": Problem}})(ready)
    app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})(show_figures)
    app.get("/openapi.json", include_in_schema=False)(describe)
    app.get("/v1/tokens")(list_tokens)
    app.post("/v1/tokens", status_code=201)(add_token)
    app.delete("/v1/tokens/{name}", status_code=204)(revoke_token)
    app.get("/v1/audit")(show_audit)


async def alive() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "alive"}


def ready(service: Here) -> dict[str, str]:
    """Say whether the database answers, the store can be written and jobs are moved on."""
    trouble = service.trouble()
    if trouble:
        raise HTTPException(503, trouble)
    return {"status": "ready"}


def show_figures(visit: Reader, service: Here) -> Response:
    """Give the figures as Prometheus reads them."""
    return Response(service.figures.text(), headers={"Content-Type": TEXT})


async def describe(request: Request, visit: Reader) -> JSONResponse:
    """Describe the interface by OpenAPI."""
    return JSONResponse(request.app.openapi())


def list_tokens(visit: Admin, service: Here) -> list[TokenShown]:
    """List the tokens."""
    return [TokenShown.of(token) for token in service.tokens.all()]


def add_token(visit: Admin, service: Here, wish: TokenWish) -> Made:
    """Make a token; its secret is in the answer and nowhere else."""
    secret = service.tokens.add(wish.name, wish.role, wish.expires)
    return Made(name=wish.name, role=wish.role, token=secret)


def revoke_token(visit: Admin, service: Here, name: Name) -> None:
    """Revoke a token."""
    try:
        service.tokens.revoke(name)
    except SpecError as error:
        raise HTTPException(404, str(error)) from None


def show_audit(visit: Admin, service: Here, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[dict[str, Any]]:
    """Give the last entries of the audit log, the newest first."""
    return service.audit.latest(limit)
