"""A study on a PostgreSQL server, in the place of the journal: what is finished is there for all who may look."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from autoshrink.core import AutoshrinkError, BackendUnavailable, SpecError
from autoshrink.search.journal import Direction
from autoshrink.search.places import StorageGone, bare, first_line

__all__ = ["Database", "opened"]

_PAUSES = (1.0, 3.0, 9.0)
"""Seconds before it is asked again: a server that is started anew is back by then."""
_CONNECTS = 10
"""Seconds that a connection may take."""
_TABLES = 0x6175746F
"""The lock under which the tables are made: two searches may begin at once."""
T = TypeVar("T")

optuna.logging.set_verbosity(optuna.logging.ERROR)


class _Lost(Exception):
    """The connection broke, so that nobody knows whether a transaction was completed."""


class Database:
    """One study, which one driver at a time may write, on whatever machine: a lock of the server's says so.

    The lock goes with the connection that holds it, however the driver ends.
    """

    def __init__(self, url: str, name: str) -> None:
        """Connect, and hold the study.

        Raises:
            SpecError: it is no address of PostgreSQL, or another driver works on this study.
            BackendUnavailable: the driver's package is missing.
            StorageGone: the server does not answer.
        """
        self._where = bare(url)
        self._name = name
        self._url, self._engine = _engine(url, self._where)
        self._number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
        self._held: Connection | None = None
        self._id = 0
        try:
            self._storage = self._patiently(self._open)
        except AutoshrinkError:
            self._engine.dispose()
            raise
        event.listen(self._storage.engine, "handle_error", _noticed)

    def begin(self, directions: Sequence[Direction]) -> list[FrozenTrial]:
        """Make the study, or read the trials of earlier sittings.

        Raises:
            StorageGone: the server does not answer.
        """

        def read() -> list[FrozenTrial]:
            made = optuna.create_study(
                storage=self._storage, study_name=self._name, directions=list(directions), load_if_exists=True
            )
            self._id = made._study_id
            return self._storage.get_all_trials(self._id, deepcopy=False)

        return self._patiently(read)

    def add(self, trial: FrozenTrial) -> None:
        """Add a finished trial, once, and wait until the server has it.

        Raises:
            StorageGone: the server does not answer.
            SpecError: another driver took the study over meanwhile.
        """
        tries = 0

        def write() -> None:
            nonlocal tries
            tries += 1
            if tries == 1 or not self._has(trial):
                self._storage.create_new_trial(self._id, template_trial=trial)

        self._patiently(write)

    def close(self) -> None:
        """Let the study go."""
        if self._held is not None:
            self._held.invalidate()
            self._held.close()
        self._storage.engine.dispose()
        self._engine.dispose()

    def _open(self) -> RDBStorage:
        whole = self._engine.execution_options(isolation_level="READ COMMITTED")
        with whole.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _TABLES})
            return RDBStorage(self._url, {"pool_pre_ping": True, "connect_args": {"connect_timeout": _CONNECTS}})

    def _hold(self) -> None:
        """See that the lock is held still: a server that was started anew has forgotten it."""
        if self._held is not None:
            try:
                self._held.execute(text("SELECT 1"))
                return
            except SQLAlchemyError:
                self._held.invalidate()
                self._held.close()
                self._held = None
        connection = self._engine.connect()
        taken = connection.execute(text("SELECT pg_try_advisory_lock(:number)"), {"number": self._number}).scalar()
        if not taken:
            connection.close()
            raise SpecError(f"--study {self._where}: the study {self._name!r} is being searched by another process")
        self._held = connection

    def _has(self, trial: FrozenTrial) -> bool:
        told = [trial.user_attrs.get(name) for name in ("candidate", "key")]
        known = self._storage.get_all_trials(self._id, deepcopy=False)
        return any([other.user_attrs.get(name) for name in ("candidate", "key")] == told for other in known)

    def _patiently(self, ask: Callable[[], T]) -> T:
        for pause in (*_PAUSES, None):
            try:
                self._hold()
                return ask()
            except (SQLAlchemyError, StorageInternalError, _Lost) as error:
                if pause is None:
                    reason = first_line(error.__cause__ or error)
                    raise StorageGone(f"--study {self._where}: the server does not answer: {reason}") from None
                time.sleep(pause)
        raise AssertionError("unreachable")


@contextmanager
def opened(url: str | None, name: str) -> Iterator[Database | None]:
    """Hold a study as long as a search goes on; None where it is in the search's folder.

    Raises:
        SpecError: another driver works on this study.
        StorageGone: the server does not answer.
    """
    if url is None:
        yield None
        return
    database = Database(url, name)
    try:
        yield database
    finally:
        database.close()


def _engine(url: str, where: str) -> tuple[str, Engine]:
    try:
        parsed = make_url(url)
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.drivername != "postgresql+psycopg":
            raise SpecError(f"--study {where}: write postgresql+psycopg://USER@HOST/DATABASE")
        full = parsed.render_as_string(hide_password=False)
        settings: dict[str, Any] = {"connect_args": {"connect_timeout": _CONNECTS}, "isolation_level": "AUTOCOMMIT"}
        return full, create_engine(full, **settings)
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise SpecError(f"--study {where}: write postgresql+psycopg://USER@HOST/DATABASE") from None
    except ModuleNotFoundError as error:
        raise BackendUnavailable(
            f"--study {where}: {error.name} is not installed: pip install 'autoshrink[postgresql]'"
        ) from None


def _noticed(context: ExceptionContext) -> None:
    """Keep Optuna from asking again by itself where the connection broke: it would not look what was written."""
    if context.is_disconnect and not context.is_pre_ping:
        raise _Lost(first_line(context.original_exception))
