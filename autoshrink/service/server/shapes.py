"""What is sent to the service and what it answers, as types: they check the one and describe the other."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from autoshrink.service.server.audit import moment
from autoshrink.service.server.queue import Job, State
from autoshrink.service.server.tokens import Role, Token

__all__ = ["JobShown", "Jobs", "Made", "PickWish", "Picked", "Problem", "Progress", "TokenShown", "TokenWish", "Wish"]

Candidates = Annotated[int, Field(ge=1, le=1_000_000, description="how many recipes to try at most")]
Time = Annotated[str, Field(max_length=40, description='start no candidate after, such as "5 min"')]
Text = Annotated[str, Field(max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Wish(_Asked):
    """A target on the service's own machine."""

    target: Annotated[str, Field(min_length=1, max_length=4096, description="in a folder that the service allows")]
    candidates: Candidates | None = None
    time: Time | None = None


class PickWish(_Asked):
    """Which candidate to take, and what to do with it."""

    candidate: Annotated[int, Field(ge=0, le=2**31)] | None = None
    prefer: Literal["knee", "latency", "size", "memory", "energy", "accuracy"] = "knee"
    register_as: Annotated[Text | None, Field(alias="register", description="a registered model in MLflow")] = None
    alias: Text | None = None


class TokenWish(_Asked):
    """A token to make."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    role: Role
    expires: Annotated[str, Field(max_length=40, description='after how long, such as "30 d"')] | None = None


class Problem(BaseModel):
    """What is wrong, in one line."""

    detail: str


class Progress(BaseModel):
    """How far a search is: candidates that are finished, that are wanted, and that are on the front."""

    finished: int
    wanted: int
    front: int


class JobShown(BaseModel):
    """A job; times are ISO 8601."""

    id: str
    state: State
    name: str
    target: str
    upload: bool
    by: str
    submitted: str
    started: str | None
    ended: str | None
    tries: int
    code: int | None
    reason: str
    progress: Progress | None = None

    @classmethod
    def of(cls, job: Job, progress: dict[str, int] | None = None) -> JobShown:
        """Show a job, with its progress where that was looked up."""
        return cls(
            id=job.id,
            state=job.state,
            name=job.name,
            target=job.target,
            upload=job.upload,
            by=job.by,
            submitted=moment(job.submitted) or "",
            started=moment(job.started),
            ended=moment(job.ended),
            tries=job.tries,
            code=job.code,
            reason=job.reason,
            progress=Progress(wanted=job.wanted, **progress) if progress is not None else None,
        )


class Jobs(BaseModel):
    """A page of jobs, the newest first; ``next`` is what ``after`` gets for the page behind it."""

    jobs: list[JobShown]
    next: str | None


class Picked(BaseModel):
    """The candidate that was taken."""

    job: str
    candidate: int
    recipe: str
    model: str | None = None
    version: str | None = None
    line: str | None = None
    """What loads it from MLflow."""


class TokenShown(BaseModel):
    """A token without its secret."""

    name: str
    role: Role
    made: str
    expires: str | None
    used: str | None

    @classmethod
    def of(cls, token: Token) -> TokenShown:
        """Show a token."""
        return cls(
            name=token.name,
            role=token.role,
            made=moment(token.made) or "",
            expires=moment(token.expires),
            used=moment(token.used),
        )


class Made(BaseModel):
    """A new token; the secret is shown this once."""

    name: str
    role: Role
    token: str
