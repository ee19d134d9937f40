"""The stopwatch: models timed in turn, in rounds, until the interval is narrow enough."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .cores import spin, waiting

__all__ = ["Contender", "agreed", "race"]

_DISTURBED = 1.25
"""A block does not count when the fixed work beside it took this much longer than on a quiet core."""
_SLOW_REFERENCE = 1.12
"""Nor is the machine quiet when the reference takes this much longer than it did then."""
_LONG = 3_000_000
"""A block of this many ns averages over what disturbs, which comes and goes in milliseconds; what is beside it tells
nothing about it."""
_MANY = 5
"""Calls in a block whose median is not moved by interruptions."""
_GAP = 50_000
"""ns between the two clocks around a block: more, and it is not known what the wait belongs to."""
_QUANTILE = 0.1
"""Of the undisturbed blocks, as a model's time: memory that others use at the same time disturbs too, and is not seen
beside the blocks."""
_RESAMPLES = 200
_PERCENTILES = (90, 95, 99)
_FEWEST = 9
"""Undisturbed rounds that make a figure."""


@dataclass
class Contender:
    """A model in the race, loaded once or more: where its memory lies changes a small model's time by several %."""

    calls: list[Callable[[], Any]]
    size: int = 1
    """Calls in a block, which is what a contender does in a round."""
    warm: bool = False
    """Whether a call that is not timed comes first, to have its data back in the caches after another's turn."""
    times: list[np.ndarray] = field(default_factory=list)
    """For each round the time of each call, in ns."""
    typical: list[float] = field(default_factory=list)
    """For each round the time of a call, in ns."""
    beside: list[float] = field(default_factory=list)
    """For each round the time of the fixed work beside it, in ns; infinite when the block can't be judged, 0 when
    another clock has timed it."""

    def prepare(self, block: float) -> None:
        """Warm up, and find how many calls fill ``block`` seconds."""
        for index in range(len(self.calls)):
            begun, count = time.perf_counter(), 0
            while count < 3 or (count < 200 and time.perf_counter() - begun < 0.01):
                self.round(index, lambda: 0)
                count += 1
        fastest = max(min(self.typical), 1)
        self.size, self.warm = int(np.clip(block * 1e9 / fastest, 1, 10_000)), fastest < _LONG
        self.times, self.typical, self.beside = [], [], []

    def round(self, number: int, waited: Callable[[], int], before: int = 0) -> int:
        """Time a block of calls, one by one, and the fixed work after it.

        The median of many short calls leaves out those that were interrupted. Of a few long ones all are, and there the
        time that the scheduler let this thread wait for its core is taken off. A call that has a clock of its own, as
        on a GPU, is timed by that, whatever the core was busy with.

        Args:
            number: of the round; the loads take turns.
            waited: tells how long the thread has waited for its core.
            before: the time of the fixed work before.

        Returns:
            The time of the fixed work after.
        """
        clock, call = time.perf_counter_ns, self.calls[number % len(self.calls)]
        if self.warm:
            call()
        if hasattr(call, "clock"):
            self.times.append(np.asarray(call.clock(self.size), float))
            self.typical.append(float(np.median(self.times[-1])))
            self.beside.append(0.0)
            return spin()
        opened, waiting_before, stamps = clock(), waited(), [clock()]
        for _ in range(self.size):
            call()
            stamps.append(clock())
        lost, closed = waited() - waiting_before, clock()
        after = spin()
        times = np.diff(stamps)
        whole = stamps[-1] - stamps[0]
        judged = self.size >= _MANY or closed - opened - whole < max(_GAP, whole // 50)
        self.times.append(times)
        self.typical.append(float(np.median(times)) if self.size >= _MANY else max(whole - lost, 1) / self.size)
        self.beside.append(max(before, after) if judged else np.inf)
        return after

    def clean(self, limit: float) -> np.ndarray:
        """Say which rounds count, given the most that the fixed work beside them may have taken."""
        beside, typical = np.array(self.beside), np.array(self.typical)
        counts: np.ndarray = np.isfinite(beside) & ((beside <= limit) | (typical * self.size >= _LONG))
        return counts


def race(
    contenders: Mapping[str, Contender],
    settings: Mapping[str, Any],
    enter: Callable[[str], None],
    move: Callable[[], object],
) -> dict[str, Any]:
    """Time the artifact in turn with a reference, if there is one.

    Between the blocks of calls a fixed piece of work is timed. Where that was slow, somebody else used a part of the
    core: a busy sibling slows a small model by 1.6 and a large one by 1.1, so that not even their ratio stands, and the
    block counts only if hardly any is better. A model's time is a low quantile of its undisturbed blocks, since what
    disturbs only ever adds; on a quiet machine that is within 1 % of the median, which is given too.

    A machine that is slower as a whole than it was when the reference was first timed, by its clock rate say, slows the
    reference and the fixed work alike. Each alone is also off by its own luck, the reference by up to 15 % where others
    use the same memory, and would carry that into every figure: only what both say counts as the machine's ``pace``.

    Args:
        contenders: ``artifact``, and ``reference`` where there is one.
        settings: ``width`` of the interval to reach, relative; ``rounds`` at least; ``seconds`` at most, or
            ``patience`` while the machine is not quiet; seconds of a ``block``; and where known, ``canary`` (ns of the
            fixed work) and ``reference`` (seconds), both on the quiet machine.
        enter: is told whose turn it is.
        move: goes to another core, as this one is not quiet.

    Returns:
        For each contender ``value``, ``low``, ``high`` (95 %), ``median``, ``p90``, ``p95`` and ``p99`` of all calls in
        s, ``calls`` and ``rounds`` that count; the ``ratio`` of both with its interval; ``pace``, how much slower the
        machine is as a whole than it was; ``quiet``, ``rounds``, ``canary``, and ``slowdown``, the usual time of the
        fixed work over its time on the quiet machine.
    """
    for name, contender in contenders.items():
        enter(f"{name}: warm up")
        contender.prepare(settings["block"])
    collected = gc.isenabled()
    gc.disable()
    begun = moved = time.perf_counter()
    check, number, last = settings["rounds"], 0, spin()
    least = last
    with waiting() as waited:
        while True:
            for name in sorted(contenders, reverse=number % 2 == 1):
                if number < 2:
                    enter(f"{name}: run it for timing")
                last = contenders[name].round(number, waited, last)
                least = min(least, last)
            number += 1
            elapsed = time.perf_counter() - begun
            if number < check and elapsed < settings["seconds"]:
                continue
            check = max(number + 2, int(number * 1.2))
            result, quiet = _summary(contenders, settings, least)
            narrow = quiet and number >= settings["rounds"] and _width(result) <= settings["width"]
            if narrow or elapsed > settings["seconds" if quiet else "patience"]:
                break
            if not quiet and time.perf_counter() - moved > settings["seconds"]:
                move()
                moved = time.perf_counter()
    if collected:
        gc.enable()
    beside = [value for contender in contenders.values() for value in contender.beside if 0 < value < np.inf]
    canary = min(least, settings["canary"] or least)
    slowdown = float(np.median(beside)) / canary if beside else 1.0
    return {**result, "quiet": quiet, "rounds": number, "canary": canary, "slowdown": slowdown}


def _summary(
    contenders: Mapping[str, Contender], settings: Mapping[str, Any], least: int
) -> tuple[dict[str, Any], bool]:
    result: dict[str, Any] = {}
    canary = min(least, settings["canary"] or least)
    values, spreads, quiet = {}, {}, True
    generator = np.random.default_rng(0)
    for name, contender in contenders.items():
        clean = contender.clean(_DISTURBED * canary)
        if clean.sum() < _FEWEST:
            quiet, clean = False, np.ones_like(clean)
        count = int(clean.sum())
        typical = np.array(contender.typical)[clean] * 1e-9
        calls = np.concatenate([contender.times[index] for index in np.flatnonzero(clean)]) * 1e-9
        values[name] = float(np.quantile(typical, _QUANTILE))
        drawn = generator.integers(0, count, (_RESAMPLES, count))
        spreads[name] = np.quantile(typical[drawn], _QUANTILE, axis=1)
        result[name] = {
            **_interval(values[name], spreads[name]),
            "median": float(np.median(calls)),
            **{f"p{share}": float(np.quantile(calls, share / 100)) for share in _PERCENTILES},
            "calls": len(calls),
            "rounds": count,
        }
    if len(contenders) == 2:
        ratio = values["artifact"] / values["reference"]
        result["ratio"] = _interval(ratio, spreads["artifact"] / spreads["reference"])
        known = settings["reference"]
        if known is not None:
            quiet = quiet and values["reference"] <= _SLOW_REFERENCE * known
            slower = values["reference"] / known
            by_core = settings["canary"] and any(contenders["reference"].beside)
            result["pace"] = agreed(slower, least / settings["canary"]) if by_core else slower
    return result, quiet


def agreed(one: float, other: float) -> float:
    """Give the change that two witnesses agree on: the smaller one, or none (1) where one says faster, one slower."""
    if (one > 1) != (other > 1):
        return 1.0
    return min(one, other) if one > 1 else max(one, other)


def _interval(value: float, spread: np.ndarray) -> dict[str, float]:
    low, high = np.quantile(spread, (0.025, 0.975))
    return {"value": value, "low": float(min(low, value)), "high": float(max(high, value))}


def _width(result: Mapping[str, Any]) -> float:
    own = result["artifact"]
    return float((own["high"] - own["low"]) / own["value"])
