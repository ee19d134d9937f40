"""How much memory an artifact holds while it runs."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .arrays import Arrays

__all__ = ["Gauge"]

_RUNS = 3
_SECONDS = 0.06
_LITTLE = 2 << 20


class _Mallinfo(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    ]


class Gauge:
    """Reads how much memory is held: the live heap of glibc, elsewhere the largest resident set so far."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None) if sys.platform == "linux" else None
        self.exact = hasattr(self._libc, "mallinfo2")
        if self.exact:
            self._libc.mallinfo2.restype = _Mallinfo  # type: ignore[union-attr]

    def held(self) -> int:
        """Give the bytes that are held now."""
        if self._libc is not None and self.exact:
            info = self._libc.mallinfo2()
            return int(info.uordblks + info.hblkhd)
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024

    def measure(self, load: Callable[[], Any], example: Arrays, file: Path) -> dict[str, Any]:
        """Find the peak memory of an artifact while it runs.

        The artifact was loaded, run and released before, so that what the runtime keeps for itself does not count. The
        peak is the most that the heap holds beyond that in some runs, read by a second thread without pause: within 3 %
        of a count of every malloc and free, and the same within 1 % from process to process, where the resident set
        differs by 20 % because freed memory stays in it. Added are resident pages of mapped files of the artifact, and
        what the runtime took from the system without malloc, if that is more than 2 MiB and half the heap.

        Args:
            load: loads the artifact.
            example: what to run it on.
            file: the artifact's file.

        Returns:
            Bytes: ``peak``; ``kept`` after the runs; ``peak_of_load``, more than ``peak`` where a runtime copies or
            rewrites the model; ``mapped``, ``past_malloc``; ``before``, what was held before; and the ``method``.
        """
        self._settle()
        private, before = self._private(), self.held()
        with self._watch() as loading:
            artifact = load()
        with self._watch() as running:
            until, count = time.perf_counter() + _SECONDS, 0
            while count < _RUNS or time.perf_counter() < until:
                artifact.run(example)
                count += 1
        kept = self.held() - before
        self._settle()
        mapped = _mapped(file.parent)
        # A little more is no memory of the artifact: pages of freed memory around live memory, and Python's own.
        beyond = self._private() - private - kept if self.exact else 0
        beyond = beyond if beyond > max(_LITTLE, kept // 2) else 0
        return {
            "peak": max(running[0] - before, kept) + mapped + beyond,
            "kept": kept,
            "peak_of_load": loading[0] - before,
            "mapped": mapped,
            "past_malloc": beyond,
            "before": before,
            "method": "live heap" if self.exact else "resident set",
        }

    @contextlib.contextmanager
    def _watch(self) -> Iterator[list[int]]:
        most, held, done = [self.held()], self.held, threading.Event()

        def look() -> None:
            while not done.is_set():
                most[0] = max(most[0], held())

        watcher = threading.Thread(target=look, daemon=True)
        watcher.start()
        try:
            yield most
        finally:
            done.set()
            watcher.join()
            most[0] = max(most[0], held())

    def _settle(self) -> None:
        gc.collect()
        if hasattr(self._libc, "malloc_trim"):
            self._libc.malloc_trim(0)  # type: ignore[union-attr]

    def _private(self) -> int:
        try:
            lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
        except OSError:
            return 0
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Anonymous:"))


def _mapped(folder: Path) -> int:
    try:
        lines = Path("/proc/self/smaps").read_text().splitlines()
    except OSError:
        return 0
    total, inside, prefix = 0, False, str(folder.resolve()) + os.sep
    for line in lines:
        if not line[0].isupper():  # the head of a mapping: its address in hexadecimal, and the file
            inside = prefix in line
        elif inside and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total
