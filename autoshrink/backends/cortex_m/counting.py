"""How often each instruction of a firmware ran: the emulator's plugin, built on the user's machine, and its answer."""

from __future__ import annotations

import functools
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from autoshrink.backends.cortex_m.cache import built_once
from autoshrink.backends.cortex_m.toolchain import run_program, versions

__all__ = ["Count", "Histogram", "plugin", "read_histogram"]

_SOURCE = Path(__file__).resolve().parent / "qemu_plugin" / "histogram.c"
_FLAGS = ("-std=gnu11", "-O2", "-shared", "-fPIC", "-fvisibility=hidden")


class Count(NamedTuple):
    """What one instruction did during one inference, with warm caches."""

    executed: int
    taken: int
    """Times that it branched away."""
    flash_reads: int
    """Data accesses that it read from flash."""
    waits: int
    """Flash accesses, for data or for the next instructions, that no cache or prefetcher hid."""


Histogram = Mapping[int, Count]
"""Address of an instruction → what it did."""


@functools.cache
def plugin() -> tuple[Path | None, str]:
    """Build the counting plugin, once for each emulator and compiler.

    Returns:
        The shared library; or nothing and the reason why it can't be built here.
    """
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        return None, "no C compiler for this machine (cc) to build the counting plugin with"
    said = ""

    def compile_into(target: Path) -> None:
        nonlocal said
        done = run_program([compiler, *_FLAGS, "-o", target, _SOURCE])
        said = done.stderr
        if done.returncode:
            raise OSError("not built")

    parts: list[bytes | str] = [_SOURCE.read_bytes(), compiler, platform.machine(), versions()["qemu-system-arm"]]
    try:
        return built_once("histogram.so", parts, compile_into), ""
    except OSError as error:
        return None, f"the counting plugin can't be built: {said.strip()[-300:] or error}"


def read_histogram(path: Path) -> Histogram | None:
    """Read what the plugin wrote; nothing if the end marker was never reached."""
    lines = path.read_text(encoding="ascii").splitlines() if path.exists() else []
    if not lines or lines[-1] != "complete":
        return None
    histogram: dict[int, Count] = {}
    for line in lines[:-1]:
        address, *counts = line.split()
        new, old = map(int, counts), histogram.get(int(address, 16), Count(0, 0, 0, 0))
        histogram[int(address, 16)] = Count(*(a + b for a, b in zip(new, old, strict=True)))
    return dict(sorted(histogram.items()))
