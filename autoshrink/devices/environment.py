"""A Python environment of its own on this machine, for a runtime that can't be installed beside everything else."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from autoshrink.core import BackendUnavailable

__all__ = ["Environment", "without_python_settings"]

Say = Callable[[str], None]


@dataclass(frozen=True)
class Environment:
    """Pinned packages in a folder that is known by the pins; there is either the whole of it or nothing."""

    name: str
    """Of the backend that it is for."""
    pins: tuple[str, ...]
    """What pip installs."""
    pythons: tuple[int, int]
    """The oldest and the newest Python 3 that all of it has wheels for, by their minor version."""
    check: str
    """A statement that fails where it does not work."""

    @property
    def folder(self) -> Path:
        """Where it is: in ``$XDG_CACHE_HOME/autoshrink``, else in ``~/.cache/autoshrink``."""
        key = hashlib.sha256(" ".join(self.pins).encode()).hexdigest()[:8]
        return _cache() / f"{self.name}-{key}"

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def here(self) -> bool:
        """Whether it was made."""
        return self.python.exists()

    def make(self, say: Say) -> bool:
        """Make it, unless it is there already; a second process waits for the first.

        Args:
            say: is told what takes time.

        Returns:
            Whether it was made now.

        Raises:
            BackendUnavailable: there is no Python for it, or pip can't install it.
        """
        with self._alone(say):
            if self.here:
                return False
            self._remove_unfinished()
            unfinished = Path(tempfile.mkdtemp(prefix=f".{self.name}-", dir=_cache()))
            try:
                self._install(unfinished, say)
                unfinished.rename(self.folder)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
        return True

    def _install(self, folder: Path, say: Say) -> None:
        base = self._interpreter()
        say(f"making an environment for {self.name} with {base}")
        self._run([base, "-m", "venv", str(folder)], "Debian and Ubuntu have the module venv in python3-venv")
        python = str(folder / "bin" / "python")
        say(f"installing {' '.join(self.pins)}")
        quietly = ["--quiet", "--no-input", "--disable-pip-version-check", "--retries", "2", "--only-binary", ":all:"]
        oldest, newest = self.pythons
        needs = f"it needs pip's package index, and wheels for this machine (Linux, Python 3.{oldest} to 3.{newest})"
        self._run([python, "-m", "pip", "install", *quietly, *self.pins], needs)
        say("trying it")
        self._run([python, "-W", "ignore", "-c", self.check], "its packages don't work on this machine")

    def _interpreter(self) -> str:
        oldest, newest = self.pythons
        if oldest <= sys.version_info.minor <= newest:
            return sys.executable
        for minor in range(newest, oldest - 1, -1):
            if found := shutil.which(f"python3.{minor}"):
                return found
        raise BackendUnavailable(
            f"{self.name} needs Python 3.{oldest} to 3.{newest}, and there is none here: install python3.{newest} and "
            "its venv module"
        )

    def _run(self, command: list[str], hint: str) -> None:
        done = subprocess.run(command, env=without_python_settings(), capture_output=True, text=True, check=False)
        if done.returncode:
            said = [line for line in (done.stdout + done.stderr).strip().splitlines() if "WARNING" not in line]
            errors = [line for line in said if "ERROR" in line] or said[-1:] or [f"exit code {done.returncode}"]
            raise BackendUnavailable(f"the environment for {self.name} can't be made: {errors[-1].strip()}; {hint}")

    @contextmanager
    def _alone(self, say: Say) -> Iterator[None]:
        try:
            _cache().mkdir(parents=True, exist_ok=True)
            lock = (_cache() / f".{self.name}.lock").open("w")
        except OSError as error:
            message = f"nothing can be kept in {_cache()} ({error.strerror}): set XDG_CACHE_HOME"
            raise BackendUnavailable(message) from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("another process makes it: waiting")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _remove_unfinished(self) -> None:
        """Remove what a killed process left, and an environment whose Python is gone."""
        for left in (*_cache().glob(f".{self.name}-*"), self.folder):
            shutil.rmtree(left, ignore_errors=True)


def without_python_settings() -> dict[str, str]:
    """Give the variables of this process, without those that tell Python where its packages are."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COVERAGE", "VIRTUAL_"))
    }


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "autoshrink"
