"""The service's parts, put together over one store."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from autoshrink.core import SpecError
from autoshrink.service.server.audit import Audit
from autoshrink.service.server.checks import Places
from autoshrink.service.server.database import Database
from autoshrink.service.server.dispatcher import Dispatcher
from autoshrink.service.server.events import Feeds
from autoshrink.service.server.figures import Figures
from autoshrink.service.server.limits import Buckets
from autoshrink.service.server.progress import Records
from autoshrink.service.server.queue import Queue
from autoshrink.service.server.runner import Runner
from autoshrink.service.server.tokens import Tokens
from autoshrink.service.server.uploads import Uploads

__all__ = ["FOLDER", "RUNS", "Rules", "Service", "open_database"]

FOLDER = ".service"
"""The folder inside the store that holds what is the service's own."""
RUNS = "runs"
"""In it, a folder for each job's process."""
_SILENT = 60.0
"""Seconds after which the dispatcher counts as gone."""


@dataclass(frozen=True)
class Rules:
    """What the service allows."""

    places: Places = field(default_factory=Places)
    body_limit: int = 64 * 1024 * 1024
    """Bytes of one request's body."""
    requests: int = 1200
    """Requests a minute and token, submissions aside."""
    submissions: int = 300
    """Submissions a minute and token."""
    searches: int = 1
    """Searches that run at the same time."""


class Service:
    """Everything that the routes need."""

    def __init__(self, root: Path, database: Database, runner: Runner, rules: Rules) -> None:
        self.root = root
        self.rules = rules
        self.database = database
        folder = root / FOLDER
        self.queue = Queue(database)
        self.tokens = Tokens(database)
        self.audit = Audit(database, folder / "audit.jsonl")
        self.uploads = Uploads(folder / "uploads", rules.body_limit)
        self.records = Records(root)
        self.feeds = Feeds(self.queue, root)
        self.figures = Figures(self.queue, lambda: self.feeds.followers)
        self.dispatcher = Dispatcher(self.queue, runner, root, folder / RUNS, rules.searches)
        self.requests = Buckets(rules.requests)
        self.submissions = Buckets(rules.submissions)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the store for one service: two would begin each search twice.

        Raises:
            SpecError: another one serves this store.
        """
        with (self.root / FOLDER / "lock").open("a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SpecError(f"{self.root}/ is being served by another process already") from None
            self.uploads.clear(self.queue.uploads())
            yield

    def trouble(self) -> str:
        """Say why the service can't do its work now; empty when it can."""
        try:
            with self.database.read() as connection:
                connection.execute(text("SELECT 1"))
        except SQLAlchemyError:
            return "the database does not answer"
        try:
            with tempfile.TemporaryFile(dir=self.root / FOLDER) as file:
                file.write(b"x")
        except OSError as error:
            return f"the store can't be written: {error.strerror}"
        return "the dispatcher has stopped" if self.dispatcher.silent > _SILENT else ""


def open_database(root: Path, url: str | None) -> Database:
    """Open the service's database: the one that is named, else SQLite in the store.

    Raises:
        SpecError: the address is none of a database.
        BackendUnavailable: the database does not answer.
    """
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Database.beside(folder) if url is None else Database(url)
