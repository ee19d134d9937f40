"""A PostgreSQL server of the tests' own, reached by a socket in a folder: no port is taken."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["Server", "postgres"]

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


class Server:
    """A server that can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
        if self._own:
            subprocess.run(["chown", "nobody:nogroup", folder], check=True)
        self._run("initdb", "-U", "tester", "-A", "trust", "--no-sync", "-E", "UTF8")
        self.start()

    @property
    def url(self) -> str:
        """The address of its database; it trusts whoever comes, with any password."""
        return f"postgresql+psycopg://tester:hush@/postgres?host={self._folder}"

    def start(self) -> None:
        options = f"-k {self._folder} -c listen_addresses='' -c fsync=off"
        self._run("pg_ctl", "-o", options, "-l", f"{self._folder}/log", "-w", "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-m", "immediate", "-w", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._own, f"{BINARIES[-1]}/{program}", "-D", f"{self._folder}/data", *arguments]
        env = {**os.environ, "HOME": str(self._folder)}
        done = subprocess.run(command, cwd=self._folder, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def postgres() -> Iterator[Server]:
    """Start a server, and stop it."""
    if not BINARIES:
        pytest.skip("no PostgreSQL: apt-get install postgresql")
    with tempfile.TemporaryDirectory(prefix="autoshrink-pg-", dir="/tmp") as folder:  # a socket's path must be short
        server = Server(Path(folder))
        try:
            yield server
        finally:
            server.stop()
