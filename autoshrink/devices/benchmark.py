"""What a runtime's own benchmark program prints, as the figures that the harness gives."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["ROUNDS", "Figures", "race", "read_figures"]

ROUNDS = 5
"""How often each model is run at least."""
_SLOW_REFERENCE = 1.12
"""The phone is not quiet when the reference takes this much longer than it did then."""


@dataclass(frozen=True)
class Figures:
    """One run of the program, in seconds and bytes."""

    value: float
    """The mean of its timed calls."""
    median: float
    p95: float
    calls: int
    all_calls: int
    """With those that warm up."""
    memory: int | None


def read_figures(printed: str, pattern: Mapping[str, Any]) -> Figures:
    """Find the figures in what was printed.

    Args:
        printed: all of it.
        pattern: the program's: ``timed``, an expression that finds each series of calls, the last being the one that
            counts, with the groups ``count``, ``mean``, ``high`` and where it prints them ``median``, ``p95``, and
            ``only`` where all calls took as long; ``seconds``, what one of its units of time is; ``memory``, an
            expression with one group, and ``bytes``, what one of its units is.

    Raises:
        ValueError: there are none.
    """
    series = [match.groupdict() for match in re.finditer(pattern["timed"], printed)]
    if not series:
        raise ValueError("it prints no times that can be read")
    last = series[-1]
    mean = float(last["mean"] or last["only"])
    high = float(last["p95"] or last["high"] or mean)
    memory = re.search(pattern["memory"], printed)
    return Figures(
        value=mean * pattern["seconds"],
        median=float(last["median"] or mean) * pattern["seconds"],
        p95=high * pattern["seconds"],
        calls=int(last["count"]),
        all_calls=sum(int(one["count"]) for one in series),
        memory=int(float(memory[1]) * pattern["bytes"]) if memory else None,
    )


def race(run: Callable[[str], Figures], names: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Run the program on the artifact in turn with the reference, if there is one.

    A time is the median over the rounds, its band reaches from the shortest to the longest. A phone that is slower than
    it was when the reference was first timed, by its clocks or its heat, slows both alike: that is its ``pace``.

    Args:
        run: runs the program once on ``artifact`` or ``reference``.
        names: who takes part.
        settings: ``width``, ``patience`` and ``reference``, as `autoshrink.devices.harness.stopwatch.race` has them.

    Returns:
        What that gives; there is no fixed work beside the blocks, so ``canary`` is None and ``slowdown`` 1.
    """
    begun = time.monotonic()
    runs: dict[str, list[Figures]] = {name: [] for name in names}
    while True:
        for name in sorted(names, reverse=len(runs["artifact"]) % 2 == 1):
            runs[name].append(run(name))
        result: dict[str, Any] = {name: _summary(found) for name, found in runs.items()}
        own = result["artifact"]
        narrow = own["high"] - own["low"] <= settings["width"] * own["value"]
        if len(runs["artifact"]) >= ROUNDS and (narrow or time.monotonic() - begun > settings["patience"]):
            break
    result |= {"quiet": True, "rounds": len(runs["artifact"]), "canary": None, "slowdown": 1.0}
    if "reference" in runs:
        pairs = zip(runs["artifact"], runs["reference"], strict=True)
        result["ratio"] = _interval([one.value / other.value for one, other in pairs])
        if settings["reference"] is not None:
            result["pace"] = result["reference"]["value"] / settings["reference"]
            result["quiet"] = result["pace"] <= _SLOW_REFERENCE
    return result


def _summary(runs: Sequence[Figures]) -> dict[str, Any]:
    return {
        **_interval([one.value for one in runs]),
        "median": statistics.median(one.median for one in runs),
        "p95": statistics.median(one.p95 for one in runs),
        "calls": sum(one.calls for one in runs),
        "rounds": len(runs),
    }


def _interval(values: Sequence[float]) -> dict[str, float]:
    return {"value": statistics.median(values), "low": min(values), "high": max(values)}
