"""The queue: every job with its state, which changes by one transaction at a time."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.exc import IntegrityError

from autoshrink.core import AutoshrinkError
from autoshrink.service.server.database import Database, jobs

__all__ = ["ENDED", "FullError", "Job", "Queue", "State", "Submission", "WrongStateError", "new_id"]

MOST_QUEUED = 10_000
_LONGEST = 3600.0
"""Seconds that no job is put off by."""


class State(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    FINISHED = "finished"
    UNMET = "unmet"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = frozenset({State.FINISHED, State.UNMET, State.FAILED, State.CANCELLED})


class WrongStateError(AutoshrinkError):
    """What is asked for can't be done with the job as it is."""


class FullError(AutoshrinkError):
    """No more jobs are taken now."""


@dataclass(frozen=True)
class Submission:
    """What somebody wants to have searched: the target as it was checked, with the folder that its files are in."""

    id: str
    name: str
    target: str
    """As it was asked for: a path, or the uploaded file."""
    file: str
    folder: str
    document: str
    """The target's YAML, with the settings of the submission in it."""
    wanted: int
    upload: bool
    by: str
    key: str | None
    """The Idempotency-Key."""
    body: str
    """The SHA-256 of what was asked for: the same key goes with the same wish."""


@dataclass(frozen=True)
class Job:
    """One job; times are seconds since 1970."""

    id: str
    number: int
    state: State
    name: str
    target: str
    wanted: int
    upload: bool
    by: str
    submitted: float
    started: float | None
    ended: float | None
    begun: bool
    """Whether the runner was told."""
    tries: int
    """How often it was begun again."""
    code: int | None
    reason: str


_COLUMNS = [jobs.c[name] for name in Job.__dataclass_fields__]


def new_id() -> str:
    """Make up a job's id."""
    return f"j{secrets.token_hex(6)}"


class Queue:
    """All jobs, first come first served."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def submit(self, wish: Submission) -> tuple[Job, bool]:
        """Take a job in.

        Returns:
            The job, and whether it is a new one: the same key by the same token gives the job that is there.

        Raises:
            WrongStateError: the key was used for something else.
            FullError: too many are waiting.
        """
        now = time.time()
        known = self._of_key(wish)
        if known is not None:
            return known, False
        if self.counts()[State.QUEUED] >= MOST_QUEUED:
            raise FullError(f"{MOST_QUEUED} jobs are waiting already: try again later")
        row = {
            **vars(wish),
            "state": State.QUEUED.value,
            "submitted": now,
            "due": 0.0,
        }  # due at once, whatever the clock is set to
        try:
            with self._database.write() as connection:
                connection.execute(jobs.insert().values(row))
        except IntegrityError:
            known = self._of_key(wish)  # the same request came twice at the same time
            if known is None:
                raise
            return known, False
        return self.known(wish.id), True

    def get(self, job: str) -> Job | None:
        """Find a job."""
        found = self._find(jobs.c.id == job)
        return found[0] if found else None

    def known(self, job: str) -> Job:
        """Find a job that is there.

        Raises:
            KeyError: there is none of this id.
        """
        found = self.get(job)
        if found is None:
            raise KeyError(job)
        return found

    def page(self, state: State | None, limit: int, after: str | None) -> list[Job]:
        """List jobs, the newest first, from behind the one called ``after``."""
        wanted = [] if state is None else [jobs.c.state == state.value]
        if after is not None:
            wanted.append(jobs.c.number < select(jobs.c.number).where(jobs.c.id == after).scalar_subquery())
        with self._database.read() as connection:
            rows = connection.execute(select(*_COLUMNS).where(*wanted).order_by(jobs.c.number.desc()).limit(limit))
            return [_job(row._mapping) for row in rows]

    def counts(self) -> dict[State, int]:
        """Count the jobs by state."""
        with self._database.read() as connection:
            rows = connection.execute(select(jobs.c.state, func.count()).group_by(jobs.c.state))
            return dict.fromkeys(State, 0) | {State(state): int(count) for state, count in rows}

    def several(self, ids: Iterable[str]) -> dict[str, Job]:
        """Find several jobs at once."""
        return {job.id: job for job in self._find(jobs.c.id.in_(list(ids)))}

    def active(self) -> list[Job]:
        """List the jobs whose searches run, or shall."""
        return self._find(jobs.c.state.in_([State.RUNNING.value, State.CANCELLING.value]))

    def due(self, most: int) -> list[Job]:
        """List the jobs that come next."""
        now = time.time()
        due = or_(jobs.c.due <= now, jobs.c.due > now + _LONGEST)  # the clock was set back, else
        waiting = (jobs.c.state == State.QUEUED.value, due)
        with self._database.read() as connection:
            rows = connection.execute(select(*_COLUMNS).where(*waiting).order_by(jobs.c.number).limit(most))
            return [_job(row._mapping) for row in rows]

    def source(self, job: str) -> tuple[str, str, str]:
        """Give a job's target: the YAML document, and the file and the folder that it came from."""
        with self._database.read() as connection:
            row = connection.execute(select(jobs.c.document, jobs.c.file, jobs.c.folder).where(jobs.c.id == job)).one()
        return row[0], row[1], row[2]

    def start(self, job: str) -> bool:
        """Have a queued job run; the runner is told next."""
        return self._change(
            job, State.QUEUED, State.RUNNING, begun=False, started=func.coalesce(jobs.c.started, time.time())
        )

    def begun(self, job: str) -> None:
        """Keep that the runner was told: from now on, what it says of the job is of this run."""
        with self._database.write() as connection:
            connection.execute(update(jobs).where(jobs.c.id == job).values(begun=True))

    def again(self, job: str, tries: int, delay: float, reason: str) -> bool:
        """Queue a running job again after so many seconds, because its search died."""
        return self._change(
            job,
            State.RUNNING,
            State.QUEUED,
            tries=tries,
            due=time.time() + delay if delay else 0.0,
            reason=reason,
            begun=False,
        )

    def settle(self, job: Job, state: State, code: int | None, reason: str) -> bool:
        """Keep how an active job came out, unless its state has changed meanwhile."""
        return self._change(job.id, job.state, state, code=code, reason=reason, ended=time.time())

    def cancel(self, job: str) -> Job:
        """Cancel a job: at once while it waits, else as soon as its search has stopped.

        Raises:
            WrongStateError: it has ended.
            KeyError: there is none of this id.
        """
        cancelled = self._change(job, State.QUEUED, State.CANCELLED, ended=time.time(), reason="cancelled")
        if not cancelled:
            self._change(job, State.RUNNING, State.CANCELLING)
        found = self.known(job)
        if not cancelled and found.state is not State.CANCELLING:
            raise WrongStateError(f"job {job} is {found.state}: only what waits or runs can be cancelled")
        return found

    def resume(self, job: str) -> Job:
        """Queue a job again that ended without a front.

        Raises:
            WrongStateError: it has not ended, or with a front.
            KeyError: there is none of this id.
        """
        fresh: dict[str, Any] = {"tries": 0, "code": None, "reason": "", "ended": None, "due": 0.0}
        for state in (State.CANCELLED, State.FAILED, State.UNMET):
            if self._change(job, state, State.QUEUED, begun=False, **fresh):
                return self.known(job)
        found = self.known(job)
        raise WrongStateError(f"job {job} is {found.state}: only what was cancelled, failed or unmet can be resumed")

    def uploads(self) -> set[str]:
        """Name the jobs that were uploaded."""
        with self._database.read() as connection:
            return set(connection.execute(select(jobs.c.id).where(jobs.c.upload)).scalars())

    def _change(self, job: str, before: State, after: State, **values: Any) -> bool:
        condition = (jobs.c.id == job, jobs.c.state == before.value)
        with self._database.write() as connection:
            done = connection.execute(update(jobs).where(*condition).values(state=after.value, **values))
            return done.rowcount == 1

    def _find(self, condition: ColumnElement[bool]) -> list[Job]:
        with self._database.read() as connection:
            rows = connection.execute(select(*_COLUMNS).where(condition).order_by(jobs.c.number))
            return [_job(row._mapping) for row in rows]

    def _of_key(self, wish: Submission) -> Job | None:
        if wish.key is None:
            return None
        with self._database.read() as connection:
            query = select(*_COLUMNS, jobs.c.body).where(jobs.c.by == wish.by, jobs.c.key == wish.key)
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        if row._mapping["body"] != wish.body:
            raise WrongStateError(f"this Idempotency-Key belongs to job {row._mapping['id']}, which is another target")
        return _job(row._mapping)


def _job(row: Mapping[Any, Any]) -> Job:
    values = {name: row[name] for name in Job.__dataclass_fields__}
    return Job(**{**values, "state": State(values["state"])})
