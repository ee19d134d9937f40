"""The dispatcher: has the queue's searches run, so many at a time, and notes how they end.

It keeps nothing to itself: what it did stands in the queue, and what runs is known to the runner. So it can be killed
at any moment, and the next one goes on from there.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from autoshrink.core import AutoshrinkError
from autoshrink.search.store import Store
from autoshrink.service.server.queue import Job, Queue, State
from autoshrink.service.server.runner import Runner

__all__ = ["Dispatcher", "last_lines"]

_TRIES = 3
_EVERY = 0.5
_FINAL = {0: State.FINISHED, 3: State.UNMET, 1: State.FAILED, 2: State.FAILED}
"""How a search ends by its exit code; every other code says that it could go on."""
_UNAVAILABLE = 4
_PAUSE = 10.0
"""Seconds before a device that was gone is asked again; three times as long each time."""
_MOST_LINES = 8
_MOST_BYTES = 16 * 1024
_STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

_log = logging.getLogger(__name__)


class Dispatcher:
    """A thread that moves jobs on."""

    def __init__(self, queue: Queue, runner: Runner, root: Path, logs: Path, searches: int = 1) -> None:
        """Prepare.

        Args:
            queue: the jobs.
            runner: runs their searches.
            root: the folder that holds all searches.
            logs: the folder with a folder for each job, in which the runner keeps what a search printed.
            searches: how many run at the same time.
        """
        self._queue = queue
        self._runner = runner
        self._root = root
        self._logs = logs
        self._searches = searches
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)
        self._endings: dict[str, threading.Thread] = {}
        self._looked = time.monotonic()

    def start(self) -> None:
        """Begin to move jobs on."""
        self._thread.start()

    def stop(self) -> None:
        """Leave the jobs as they are; searches that run go on."""
        self._stop.set()
        self._thread.join(timeout=10.0)

    @property
    def silent(self) -> float:
        """Seconds since it looked at the queue last."""
        return time.monotonic() - self._looked

    def step(self) -> None:
        """Look at everything once."""
        active = self._queue.active()
        for job in active:
            self._look(job)
        for job in self._queue.due(max(0, self._searches - len(self._queue.active()))):
            if self._queue.start(job.id):
                self._begin(job)

    def _run(self) -> None:
        while not self._stop.wait(_EVERY):
            try:
                self.step()
                self._looked = time.monotonic()
            except (AutoshrinkError, SQLAlchemyError, OSError) as error:
                # A database that is away, a full disk, a cluster that does not answer: each may come back.
                _log.warning("the queue can't be moved on: %s", error)

    def _look(self, job: Job) -> None:
        if job.state is State.RUNNING and not job.begun:
            self._begin(job)  # who should have told the runner was ended before it did
            return
        answer = self._runner.look(job.id)
        if answer != "running":
            self._ended(job, answer)
        elif job.state is State.CANCELLING:
            self._end(job.id)

    def _begin(self, job: Job) -> None:
        try:
            self._runner.begin(job.id, self._prepared(job.id))
        except AutoshrinkError as error:
            self._again(job, error.exit_code, "can't be begun", str(error))
            return
        self._queue.begun(job.id)

    def _prepared(self, job: str) -> Path:
        """Write the search's folder as `Store.create` does: what runs is what was checked, whatever became of it."""
        document, file, folder = self._queue.source(job)
        store = Store(self._root / job)
        if not (store.folder / "search.json").is_file():
            store.artifacts.mkdir(parents=True, exist_ok=True)
            store.write("target.yaml", document)
            name = self._queue.known(job).name
            store.write_json("search.json", {"name": job, "target": name, "file": file, "folder": folder})
        return Path(folder) / Path(file).name

    def _ended(self, job: Job, code: int | None) -> None:
        reason = "" if code == 0 else last_lines(self._logs / job.id)
        if job.state is State.CANCELLING:
            # It may have come to its own end before it was stopped.
            state = _FINAL[code] if code in (0, 3) else State.CANCELLED
            self._queue.settle(job, state, code, "cancelled" if state is State.CANCELLED else reason)
        elif code is not None and code in _FINAL:
            self._queue.settle(job, _FINAL[code], code, reason)
        else:
            how = "left no exit code" if code is None else f"ended with exit code {code}"
            self._again(job, code, how, reason)

    def _again(self, job: Job, code: int | None, how: str, reason: str) -> None:
        if job.tries >= _TRIES:
            why = f"the search {how}, after it was resumed {_TRIES} times"
            self._queue.settle(self._queue.known(job.id), State.FAILED, code, f"{why}\n{reason}".strip())
            return
        delay = _PAUSE * 3**job.tries if code == _UNAVAILABLE else 0.0
        self._queue.again(job.id, job.tries + 1, delay, f"the search {how}; it is resumed\n{reason}".strip())

    def _end(self, job: str) -> None:
        """Have a search stop, which may take a while, beside the others."""
        ending = self._endings.get(job)
        if ending is None or not ending.is_alive():
            self._endings[job] = threading.Thread(target=self._runner.end, args=(job,), daemon=True)
            self._endings[job].start()


def last_lines(folder: Path) -> str:
    """Read the last lines of what a search printed; empty where nothing is known."""
    logs = [path for path in folder.glob("*log*") if path.is_file()]
    if not logs:
        return ""
    with max(logs, key=lambda path: path.stat().st_mtime).open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - _MOST_BYTES))
        text = _STYLE.sub("", file.read().decode(errors="replace"))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "\n".join(lines[-_MOST_LINES:])
