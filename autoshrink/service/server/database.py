"""The service's database: its tables, and transactions that are short."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Engine,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
)
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from autoshrink.core import BackendUnavailable, SpecError

__all__ = ["Database", "audit", "jobs", "tokens"]

_BUSY = 10.0
"""Seconds that a writer waits for another one."""

_THREADS = 40
"""That ask at the same time: as many as the server has for what blocks."""

_tables = MetaData()

jobs = Table(
    "autoshrink_jobs",
    _tables,
    Column("number", Integer, primary_key=True),
    Column("id", String(13), nullable=False, unique=True),
    Column("state", String(10), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("file", Text, nullable=False),
    Column("folder", Text, nullable=False),
    Column("document", Text, nullable=False),
    Column("wanted", Integer, nullable=False),
    Column("upload", Boolean, nullable=False),
    Column("by", String(64), nullable=False),
    Column("key", String(255)),
    Column("body", String(64), nullable=False),
    Column("submitted", Float, nullable=False),
    Column("due", Float, nullable=False),
    Column("started", Float),
    Column("ended", Float),
    Column("begun", Boolean, nullable=False, default=False),
    Column("tries", Integer, nullable=False, default=0),
    Column("code", Integer),
    Column("reason", Text, nullable=False, default=""),
    UniqueConstraint("by", "key"),
)

tokens = Table(
    "autoshrink_tokens",
    _tables,
    Column("id", String(12), primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("role", String(8), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("made", Float, nullable=False),
    Column("expires", Float),
    Column("used", Float),
)

audit = Table(
    "autoshrink_audit",
    _tables,
    Column("number", Integer, primary_key=True),
    Column("at", Float, nullable=False),
    Column("who", String(64), nullable=False),
    Column("action", Text, nullable=False),
    Column("job", String(64)),
    Column("address", Text, nullable=False),
    Column("outcome", Text, nullable=False),
)


class Database:
    """One database, SQLite in the store or a PostgreSQL server, that several threads and processes use at once."""

    def __init__(self, url: str) -> None:
        """Open it, and make its tables where they are not there yet.

        Raises:
            SpecError: the address is none of a database.
            BackendUnavailable: the database does not answer, or its driver is not installed.
        """
        try:
            self.engine = create_engine(url, pool_size=_THREADS, pool_pre_ping=not url.startswith("sqlite"))
        except (ArgumentError, NoSuchModuleError):
            raise SpecError(
                "--database: is no address of a database; write postgresql+psycopg://USER@HOST/DATABASE"
            ) from None
        except ModuleNotFoundError as error:
            raise BackendUnavailable(
                f"--database: its driver is not installed ({error.name}): pip install 'psycopg[binary]'"
            ) from None
        if self.engine.dialect.name == "sqlite":
            _prepare(self.engine)
        elif self.engine.dialect.name != "postgresql":
            raise SpecError(f"--database: {self.engine.dialect.name} is not supported; write postgresql+psycopg://…")
        try:
            with self.write() as connection:
                _tables.create_all(connection)
        except SQLAlchemyError as error:
            where = self.engine.url.render_as_string(hide_password=True)
            raise BackendUnavailable(f"the database {where} does not answer: {_first_line(error)}") from None

    @classmethod
    def beside(cls, folder: Path) -> Database:
        """Open the SQLite database in a folder, which nobody else may read: it says who may do what."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = (folder / "service.db").resolve()
        file.touch(mode=0o600)
        return cls(f"sqlite:///{file}")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Read in one transaction."""
        with self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Write in one transaction: all of it is on the disk when this returns, or nothing."""
        with self.engine.connect().execution_options(autoshrink_writes=True) as connection, connection.begin():
            yield connection

    def close(self) -> None:
        """Close its connections."""
        self.engine.dispose()


def _prepare(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def connected(connection: Any, record: object) -> None:
        connection.isolation_level = None  # the driver begins no transaction of its own: that is done below
        for setting in (f"busy_timeout={_BUSY * 1000:.0f}", "journal_mode=WAL", "synchronous=FULL"):
            connection.execute(f"PRAGMA {setting}").close()

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        # A writer says so at once: one that read first could find that somebody else has written since.
        writes = connection.get_execution_options().get("autoshrink_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
