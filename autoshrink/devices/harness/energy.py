"""The energy of an inference by the processor's own counters (RAPL) or a phone's rails, where they can be read."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .rails import rail_files, rails

__all__ = ["measure_energy"]

_REPEATS = 3


def measure_energy(call: Callable[[], Any], folder: Path, seconds: float, on_phones: Path) -> dict[str, Any]:
    """Measure a burst of calls less as long a rest, three times.

    Args:
        call: one inference.
        folder: what Linux shows as ``/sys/class/powercap``.
        seconds: the duration of each burst and of each rest.
        on_phones: what Linux shows as ``/sys/bus/iio/devices``, where a phone may have its rails.

    Returns:
        ``value`` (the middle one), ``low`` and ``high`` in J of one inference, ``calls``, and for a phone its
        ``rails``; or a ``note`` that says why there is no figure.
    """
    try:
        counters = _Rails(on_phones) if rail_files(on_phones) else _Counters(folder)
        counters.read()
    except (OSError, ValueError) as error:
        return {"note": f"the energy counters can't be read: {error}"}
    if not counters.files:
        return {"note": f"no energy counters in {folder}"}
    figures, total = [], 0
    for _ in range(_REPEATS):
        idle_joules, idle_seconds, _ = counters.during(lambda: time.sleep(seconds), 0.0)
        joules, duration, count = counters.during(call, seconds)
        figures.append((joules - idle_joules / idle_seconds * duration) / count)
        total += count
    if min(figures) <= 0:
        return {"note": "other work took so much energy meanwhile that the inferences don't show"}
    found = {"value": sorted(figures)[_REPEATS // 2], "low": min(figures), "high": max(figures), "calls": total}
    return found | ({"rails": counters.names} if counters.names else {})


class _Counters:
    names: Sequence[str] = ()

    def __init__(self, folder: Path) -> None:
        # Only whole processors (intel-rapl:0): their parts (intel-rapl:0:1) are in them.
        packages = [path for path in sorted(folder.glob("*-rapl:*")) if path.name.count(":") == 1]
        self.files = [path / "energy_uj" for path in packages]
        self.ranges = [int((path / "max_energy_range_uj").read_text()) for path in packages]

    def read(self) -> list[int]:
        return [int(file.read_text()) for file in self.files]

    def during(self, call: Callable[[], Any], seconds: float) -> tuple[float, float, int]:
        """Give joules, seconds and calls, calling once or for some seconds."""
        before, begun, count = self.read(), time.perf_counter(), 0
        while count == 0 or time.perf_counter() - begun < seconds:
            call()
            count += 1
        duration, after = time.perf_counter() - begun, self.read()
        spent = ((b - a) % full for a, b, full in zip(before, after, self.ranges, strict=True))
        return sum(spent) * 1e-6, duration, count


class _Rails(_Counters):
    def __init__(self, folder: Path) -> None:
        self.files = rail_files(folder)

    def read(self) -> list[int]:
        found, _ = rails("\n".join(file.read_text() for file in self.files))
        self.names, self.ranges = sorted(found), [1 << 64] * len(found)
        return [found[name] for name in self.names]
