"""How the service has searches run: each is a process of its own that outlives the service."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Literal, Protocol

__all__ = ["Processes", "Runner"]

_GRACE = 60.0
"""Seconds that a search may take to stop in order."""
_LOOK = 0.2
# An interrupt is the search's alone; the exit code is written in one step, so that half of it is never read.
_KEEP = 'echo $$ > "$0/pid"; trap : INT; "$@"; echo $? > "$0/code.partial"; mv "$0/code.partial" "$0/code"'


class Runner(Protocol):
    """Begins searches, looks after them and ends them; it keeps what it needs to know on the disk."""

    def begin(self, job: str, target: Path) -> None:
        """Begin the job's search, or go on with it where its folder is there already; idempotent while it runs."""
        ...

    def look(self, job: str) -> int | Literal["running"] | None:
        """Give the exit code; None: there is no trace of it, or it died without one: begin again."""
        ...

    def end(self, job: str) -> None:
        """Have it stop as Ctrl-C does; it is killed after a grace period."""
        ...


class Processes:
    """Runs each search as a process on this machine, in a session of its own.

    A search runs as long as the lock in its folder is held. The service takes it, and hands it to the process before
    that exists: so there is no moment in which the service could be killed and a search be forgotten, or begun twice.
    """

    def __init__(self, store: Path, folder: Path, address: str | None = None, grace: float = _GRACE) -> None:
        """Prepare.

        Args:
            store: the folder that holds all searches.
            folder: where each job gets a folder, for its lock, log and exit code.
            address: Ray's; None for this machine.
            grace: seconds that a search may take to stop in order.
        """
        self._store = store
        self._folder = folder
        self._address = address
        self._grace = grace
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        """What this service started, and has to wait for; whatever an earlier one did is known by its lock."""

    def begin(self, job: str, target: Path) -> None:
        """Start ``autoshrink search``, unless it runs."""
        folder = self._folder / job
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock, (folder / "log").open("ab") as log:
            if not _free(lock):
                return
            for name in ("code", "pid"):
                (folder / name).unlink(missing_ok=True)
            log.truncate(0)
            known = (self._store / job / "search.json").is_file()
            what = ["--resume", job] if known else [str(target), "--name", job]
            command = [sys.executable, "-m", "autoshrink", "search", *what, "--store", str(self._store)]
            command += ["--address", self._address] if self._address else []
            self._children[job] = subprocess.Popen(
                ["sh", "-c", _KEEP, str(folder), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(lock.fileno(),),
                start_new_session=True,
            )

    def look(self, job: str) -> int | Literal["running"] | None:
        """Look whether its lock is held, and else for the exit code."""
        if self._runs(job):
            return "running"
        try:
            return int((self._folder / job / "code").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def end(self, job: str) -> None:
        """Send it what Ctrl-C sends; what does not stop in time is killed, with all that it started."""
        until = time.monotonic() + self._grace
        asked = False
        while self._runs(job):
            late = time.monotonic() > until
            if not asked or late:
                asked = self._signal(job, signal.SIGKILL if late else signal.SIGINT)
            time.sleep(_LOOK)

    def _runs(self, job: str) -> bool:
        try:
            with (self._folder / job / "lock").open() as lock:
                if not _free(lock):
                    return True
        except FileNotFoundError:
            return False
        if (child := self._children.pop(job, None)) is not None:
            child.wait()
        return False

    def _signal(self, job: str, number: signal.Signals) -> bool:
        """Send a signal to a job's processes; a number of a process group is not given away while one of them lives."""
        try:
            os.killpg(int((self._folder / job / "pid").read_text(encoding="utf-8")), number)
        except (OSError, ValueError):  # it has not got that far yet, or is gone
            return False
        return True


def _free(lock: IO[str]) -> bool:
    """Take a lock that nobody holds, until the file is closed."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
