"""How the service has searches run: each is a process of its own that outlives the service."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Literal, Protocol

__all__ = ["Processes", "Runner"]

# The exit code is written in one step, so that half of it is never read.
_KEEP = '"$@"; echo $? > "$0/code.partial"; mv "$0/code.partial" "$0/code"'


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
    """Runs each search as a process on this machine."""

    def __init__(self, store: Path, folder: Path, address: str | None = None) -> None:
        self._store = store
        self._folder = folder
        self._address = address

    def begin(self, job: str, target: Path) -> None:
        """Start ``autoshrink search``, unless it runs."""
        if self.look(job) == "running":
            return
        folder = self._folder / job
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "code").unlink(missing_ok=True)
        known = (self._store / job / "search.json").is_file()
        what = ["--resume", job] if known else [str(target), "--name", job]
        command = [sys.executable, "-m", "autoshrink", "search", *what, "--store", str(self._store)]
        command += ["--address", self._address] if self._address else []
        with (folder / "log").open("wb") as output:
            process = subprocess.Popen(
                ["sh", "-c", _KEEP, str(folder), *command],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        (folder / "process").write_text(f"{process.pid} {_since(process.pid)}", encoding="utf-8")

    def look(self, job: str) -> int | Literal["running"] | None:
        """Look at its process."""
        folder = self._folder / job
        if self._leader(job) is not None:
            return "running"
        try:
            return int((folder / "code").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def end(self, job: str) -> None:
        """Send it what Ctrl-C sends."""
        leader = self._leader(job)
        if leader is not None:
            os.killpg(leader, signal.SIGINT)

    def _leader(self, job: str) -> int | None:
        try:
            text = (self._folder / job / "process").read_text(encoding="utf-8")
        except OSError:
            return None
        pid, _, since = text.partition(" ")
        try:
            os.waitpid(int(pid), os.WNOHANG)
        except ChildProcessError:
            pass
        return int(pid) if since and _since(int(pid)) == since else None


def _since(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if words[0] == "Z" else words[19]
