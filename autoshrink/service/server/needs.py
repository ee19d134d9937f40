"""What the routes are handed: the service, and a visitor who may do what the route does."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, HTTPException, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from autoshrink.service.server.gate import Visit
from autoshrink.service.server.queue import Job
from autoshrink.service.server.service import Service
from autoshrink.service.server.tokens import Role

__all__ = ["Admin", "Here", "Known", "Reader", "Submitter"]

# For the description alone: the gate has looked at the token before.
_scheme = HTTPBearer(auto_error=False, description="A token: autoshrink tokens add NAME --role read|submit|admin")


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _needs(role: Role) -> Callable[..., Awaitable[Visit]]:
    async def check(
        request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Security(_scheme)] = None
    ) -> Visit:
        visit: Visit = request.scope["autoshrink"]
        if visit.token is None or not visit.token.role.covers(role):
            has = visit.token.role if visit.token is not None else "no role"
            raise HTTPException(403, f"this needs a token with the role {role}; this one has {has}")
        return visit

    return check


Here = Annotated[Service, Depends(_service)]
Reader = Annotated[Visit, Depends(_needs(Role.READ))]
Submitter = Annotated[Visit, Depends(_needs(Role.SUBMIT))]
Admin = Annotated[Visit, Depends(_needs(Role.ADMIN))]


def _known(job: str, service: Here) -> Job:
    found = service.queue.get(job) if re.fullmatch(r"j[0-9a-f]{12}", job, re.ASCII) else None
    if found is None:
        raise HTTPException(404, f"no job {job[:40]!r}")
    return found


Known = Annotated[Job, Depends(_known)]
"""The job that the path names; who may not ask for it is told so first, as that stands before it in each route."""
