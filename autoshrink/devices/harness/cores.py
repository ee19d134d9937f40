"""The cores that a measurement runs on, and what disturbs it there."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["allowed_cores", "pin", "spin", "waiting"]

_TURNS = range(300)


def allowed_cores() -> list[int]:
    """Give the cores that this process may use; empty where the system can't tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def pin(threads: int, allowed: list[int]) -> list[int]:
    """Hold this process on as many cores as it has threads: those that do a fixed piece of work first.

    That finds idle cores, among unequal ones the fast, and leaves alone those whose sibling is busy.

    Args:
        threads: how many cores.
        allowed: the cores to choose from.

    Returns:
        The cores.
    """
    cores = allowed
    if len(cores) > threads:
        tried = cores[:: max(1, len(cores) // max(16, 2 * threads))]
        cores = sorted(sorted(tried, key=_seconds_on)[:threads])
    for task in Path("/proc/self/task").iterdir() if cores else ():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task.name), cores)
    return cores


def spin() -> int:
    """Time a small fixed piece of work; give the least of five, in ns: about 2000 on a core of its own."""
    clock, best = time.perf_counter_ns, 1 << 62
    for _ in range(5):
        begun = clock()
        for _ in _TURNS:
            pass
        best = min(best, clock() - begun)
    return best


@contextlib.contextmanager
def waiting() -> Iterator[Callable[[], int]]:
    """Give a function that tells how many ns the scheduler has let this thread wait for a core; 0 where unknown."""
    try:
        file = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
    except OSError:
        yield lambda: 0
        return
    try:
        yield lambda: int(os.pread(file, 96, 0).split()[1])
    finally:
        os.close(file)


def _seconds_on(core: int) -> float:
    os.sched_setaffinity(0, {core})
    begun = time.perf_counter()
    for _ in range(300):
        spin()
    return time.perf_counter() - begun
