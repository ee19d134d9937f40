"""How strong to compress: the front is where the accuracy reaches the floor, which bisection finds in a few steps."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from autoshrink.core import Range, Space
from autoshrink.core.recipe import Scalar
from autoshrink.techniques.base import Stage
from autoshrink.techniques.registry import technique

__all__ = ["Strength"]

_NARROW = 0.04
"""Share of a range below which two strengths count as one."""


class Strength:
    """Knows, for each set of techniques, the strongest settings that were borne and the weakest that were not.

    Settings are those that a technique of shapes declares as `stronger` and that the space gives a range for. A
    strength is between 0 (the weak end of the ranges) and 1.
    """

    def __init__(self, space: Space) -> None:
        self._ranges: dict[str, tuple[Range, bool]] = {}
        for step in space.steps:
            if technique(step.kind).stage is Stage.STRUCTURE:
                ends = technique(step.kind).stronger
                found = {name: param for name, param in step.params.items() if isinstance(param, Range)}
                names = ends.keys() & found.keys()
                self._ranges |= {f"{step.kind}.{name}": (found[name], ends[name] == "high") for name in names}
        self._borne: dict[frozenset[str], dict[str, float]] = {}
        self._broken: dict[frozenset[str], dict[str, float]] = {}

    def next(self, params: Mapping[str, Scalar], *, borne: bool) -> dict[str, Scalar] | None:
        """Take in what became of a recipe, and choose the strength to try next.

        Args:
            params: what was chosen for it.
            borne: whether a stronger one is wanted, because the accuracy is above the floor or a cost above its limit.

        Returns:
            The same choices at another strength; None where this one says nothing new, or the interval is narrow.
        """
        own = {name: self._position(name, value) for name, value in params.items() if name in self._ranges}
        kinds = frozenset(own)
        low = self._borne.get(kinds, dict.fromkeys(own, 0.0))
        high = self._broken.get(kinds, dict.fromkeys(own, 1.0))
        if not own or (_mean(own) < _mean(low) if borne else _mean(own) > _mean(high)):
            return None
        if borne:
            low = self._borne[kinds] = own
            if _mean(high) <= _mean(low):
                high = dict.fromkeys(own, 1.0)
                self._broken.pop(kinds, None)
        else:
            high = self._broken[kinds] = own
        if _mean(high) - _mean(low) < _NARROW:
            return None
        return {**params, **{name: self._value(name, (low[name] + high[name]) / 2) for name in own}}

    def _position(self, name: str, value: Scalar) -> float:
        interval, upwards = self._ranges[name]
        share = (float(value or 0) - interval.low) / (interval.high - interval.low)
        return share if upwards else 1 - share

    def _value(self, name: str, position: float) -> int | float:
        interval, upwards = self._ranges[name]
        value = interval.low + (position if upwards else 1 - position) * (interval.high - interval.low)
        if interval.step is not None:
            value = interval.low + round((value - interval.low) / interval.step) * interval.step
        return round(value) if interval.whole else value


def _mean(positions: Mapping[str, float]) -> float:
    return statistics.fmean(positions.values())
