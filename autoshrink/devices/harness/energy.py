"""The energy of an inference: bursts of calls between two updates of a sensor, less what the machine takes idle."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from .meter import Meter

__all__ = ["measure_energy"]

_REPEATS = 3
_UPDATES = 10
"""Of the sensor in a burst, at least."""
_WATCHED = 4
"""Updates that tell how often they come."""
_LONGEST = 4.0
"""Seconds of a burst, and of waiting for the first updates."""
_LATE = 3
"""Times the usual wait for an update, after which none is waited for."""


@dataclass(frozen=True)
class _Span:
    """What was spent between two updates of the sensor."""

    joules: float
    seconds: float
    calls: int
    doubt: float
    """Seconds by which the updates may have come before they were noticed."""

    @property
    def watts(self) -> float:
        return self.joules / self.seconds


def measure_energy(call: Callable[[], Any], meter: Meter, seconds: float) -> dict[str, Any]:
    """Measure a burst of calls less as long a rest, three times.

    A sensor shows a new figure every so often, a millisecond for a processor's counters and seconds for a battery's
    gauge. So bursts and rests begin and end with an update, and the time that passed between the update and its being
    noticed counts as doubt.

    Args:
        call: one inference, ended when it returns.
        meter: the sensor.
        seconds: the least duration of each burst and of each rest.

    Returns:
        ``value`` (the middle one), ``low`` and ``high`` in J of one inference, the band being their spread and the
        sensor's ``resolution`` (J of one inference) on either side; ``calls``, ``idle`` in W, and the ``interval``
        between two updates in s; or a ``note`` that says why there is no figure. And the ``sensor``.
    """
    with meter:
        try:
            figure = _measure(call, meter, seconds)
        except (OSError, ValueError) as error:
            figure = {"note": f"{meter.name} can't be read: {error}"}
    return {**figure, "sensor": meter.name}


def _measure(call: Callable[[], Any], meter: Meter, seconds: float) -> dict[str, Any]:
    interval = _interval(call, meter)
    if interval is None:
        return {"note": f"{meter.name} shows no change within {_LONGEST:.0f} s"}
    length = min(max(seconds, _UPDATES * interval), _LONGEST)
    figures, doubts, idle, total = [], [], [], 0
    for _ in range(_REPEATS):
        rest = _span(None, meter, length, interval)
        burst = _span(call, meter, length, interval)
        figures.append((burst.joules - rest.watts * burst.seconds) / burst.calls)
        unsure = burst.watts * burst.doubt + rest.watts * rest.doubt * burst.seconds / rest.seconds
        doubts.append(unsure / burst.calls)
        idle.append(rest.watts)
        total += burst.calls
    value, resolution = sorted(figures)[_REPEATS // 2], max(doubts) + meter.within * max(figures)
    if min(figures) <= 0:
        return {"note": f"{meter.name}: other work took so much energy meanwhile that the inferences don't show"}
    if resolution >= value:
        return {"note": f"{meter.name} is too coarse: {value:.2g} J, give or take {resolution:.2g} J"}
    return {
        "value": value,
        "low": max(min(figures) - resolution, 0.0),
        "high": max(figures) + resolution,
        "resolution": resolution,
        "interval": interval,
        "idle": sorted(idle)[_REPEATS // 2],
        "calls": total,
    }


def _interval(call: Callable[[], Any], meter: Meter) -> float | None:
    """Give the longest of a few waits between updates under load, in s; None when there are none to see."""
    begun = time.perf_counter()
    noticed: list[float] = []
    shown = meter.shown()
    while len(noticed) < _WATCHED and time.perf_counter() - begun < _LONGEST:
        call()
        now = meter.shown()
        if now != shown:
            noticed.append(time.perf_counter())
            shown = now
    waits = [after - before for before, after in pairwise(noticed)]
    return max(waits, default=None)


def _span(call: Callable[[], Any] | None, meter: Meter, seconds: float, interval: float) -> _Span:
    """Call, or rest, from one update of the sensor to the first one after some seconds."""
    nap = min(max(interval / 50, 0.0002), 0.02)
    step = call or (lambda: time.sleep(nap))
    settled = time.perf_counter() + interval
    while time.perf_counter() < settled:  # what is shown next is all of this phase
        step()
    _, doubt_before = _update(step, meter, interval)
    before, begun, calls = meter.joules(), time.perf_counter(), 0
    if call is None:
        time.sleep(seconds)
    while time.perf_counter() - begun < seconds:
        step()
        calls += 1
    more, doubt_after = _update(step, meter, interval)
    after, ended = meter.joules(), time.perf_counter()
    return _Span(after - before, ended - begun, calls + more, doubt_before + doubt_after)


def _update(call: Callable[[], Any], meter: Meter, interval: float) -> tuple[int, float]:
    """Call until the sensor shows something new; give the calls, and how late that may have been noticed, in s."""
    begun = looked = time.perf_counter()
    shown, calls = meter.shown(), 0
    while True:
        call()
        calls += 1
        now, changed = time.perf_counter(), meter.shown() != shown
        if changed:
            return calls, time.perf_counter() - looked
        if now - begun > _LATE * interval:
            return calls, interval
        looked = now
