"""The command line in a process of its own, and the processes that it starts."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import psutil


def autoshrink(*arguments: str, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "autoshrink", *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def family_of(number: int) -> list[psutil.Process]:
    """Find a process's children, and theirs; two idle ones of Ray's end by themselves, a minute after its head."""
    return [
        process for process in psutil.Process(number).children(recursive=True) if not name_of(process).endswith("Agent")
    ]


def name_of(process: psutil.Process) -> str:
    """Give the name of a process's program, which is empty when it has ended."""
    try:
        return Path((process.cmdline() or [""])[0]).name
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


def assert_ended(processes: Iterable[psutil.Process], seconds: float = 60.0) -> None:
    """Wait for the end of processes: what holds a core spoils the next measurement."""
    deadline = time.monotonic() + seconds
    while left := [name for process in processes if (name := name_of(process))]:
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.1)
