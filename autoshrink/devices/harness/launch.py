"""Starts the program in a fresh process, and says how that ended; with the standard library only."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["launch"]

_PACKAGE = Path(__file__).parent
_POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS")
# Settings of thread pools, allocators, debuggers and tracers in the caller's environment change what is measured.
_LEFT_OUT = re.compile(
    r"^(OMP_|KMP_|GOMP_|MKL_|OPENBLAS_|ORT_|MALLOC_|GLIBC_TUNABLES|LD_PRELOAD|COVERAGE_|COV_CORE_|RAY_|PYTHON)"
)
_KEPT = ("PYTHONPATH", "PYTHONHOME")


def launch(
    adapter: Path,
    request: Mapping[str, Any],
    files: Mapping[str, Path],
    folder: Path,
    timeout: float,
    caller: int | None = None,
    python: str = sys.executable,
) -> dict[str, Any]:
    """Run the program once in a process of its own.

    Args:
        adapter: the backend's adapter file.
        request: as `autoshrink.devices.base.Device.run` describes it.
        files: what the program reads, by name.
        folder: an empty folder that it writes into.
        timeout: seconds after which it is ended.
        caller: a file descriptor that can be read from when whoever asked is gone; then it is ended too.
        python: the interpreter; another one than this has packages of its own.

    Returns:
        ``code``, the exit status (below zero a signal's number, None when it was ended), the ``stage`` that it was in,
        the ``log`` of what it printed, and ``gone``, whether the caller is.
    """
    places = {name: str(path.resolve()) for name, path in files.items()}
    (folder / "harness").symlink_to(_PACKAGE, target_is_directory=True)
    ended, ends = os.pipe()
    tied, tie = os.pipe()  # this end is closed with this process, however that ends; then the program is killed
    (folder / "request.json").write_text(json.dumps({**request, "files": places, "tied": tied}))
    arguments = [str(adapter.resolve()), str(folder / "request.json"), str(folder)]
    try:
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [python, "-m", "harness", *arguments],
                cwd=folder,
                env=_environment(int(request["threads"]), _KEPT if python == sys.executable else ()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(ends, tied),
                start_new_session=True,
            )
        os.close(ends)  # only the process holds it now, so that its end shows without looking again and again
        os.close(tied)
        code, gone = _wait(process, ended, timeout, caller)
    finally:
        os.close(ended)
        os.close(tie)
    stage = folder / "stage"
    return {
        "code": code,
        "stage": stage.read_text() if stage.exists() else "device: start Python",
        "log": (folder / "log").read_text(errors="replace"),
        "gone": gone,
    }


def _wait(process: subprocess.Popen[bytes], ended: int, timeout: float, caller: int | None) -> tuple[int | None, bool]:
    watched = [ended] if caller is None else [ended, caller]
    end = time.monotonic() + timeout
    try:
        ready, _, _ = select.select(watched, [], [], max(end - time.monotonic(), 0))
        if ended in ready:
            return process.wait(max(end - time.monotonic(), 1.0)), False
        return None, caller in ready
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _environment(threads: int, spared: tuple[str, ...]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in spared or not _LEFT_OUT.match(name)}
    # A fixed hash seed makes the interpreter's own memory the same each time.
    return kept | dict.fromkeys(_POOLS, str(threads)) | {"PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1"}
