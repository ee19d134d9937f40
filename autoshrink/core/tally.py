"""The front while a search goes on: one candidate is added at a time, in a time that the front's length decides.

`judge` gives the same answer from all candidates at once, and is for the end of a search.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from autoshrink.core.candidate import Candidate, State
from autoshrink.core.front import OUTSIDE, Judged, Limits, cost, outside
from autoshrink.core.measurement import Metric, Origin
from autoshrink.core.target import COSTS

__all__ = ["Standing", "Tally"]

Point = tuple[float, ...]
T = TypeVar("T")


@dataclass(slots=True)
class Standing:
    """What is kept in mind of a candidate: a few hundred bytes, where the candidate itself takes twelve thousand."""

    id: int
    state: State
    figures: Point = ()
    """Objectives to be made small, as `cost` gives them; empty for what is outside the limits."""
    point: Point = ()
    """Objectives scaled: 0 is ideal, 1 is the limit."""
    origins: tuple[Origin, ...] = ()
    """Where the figures are from, by objective."""
    broken: tuple[str, ...] = ()
    """Limits that are known to be broken."""
    miss: float = math.inf
    """By how much they are, as `Limits.miss` sums it."""


class Tally:
    """Counts, front and hypervolume of a search under way."""

    def __init__(self, objectives: Sequence[str], limits: Limits, candidates: Iterable[Candidate] = ()) -> None:
        """Begin with what is known from earlier.

        Args:
            objectives: ``accuracy`` or costs.
            limits: they hold for all candidates: when they change, begin a new tally.
            candidates: in any order.
        """
        self.objectives = tuple(objectives)
        self.limits = limits
        self._standings: dict[int, Standing] = {}
        self._front: dict[int, Standing] = {}
        self._broken = Counter[str]()
        self._counts = Counter[State]()
        self._nearest: Standing | None = None
        self._volume: float | None = 0.0
        self._shared: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        for candidate in candidates:
            self.add(candidate)

    def __len__(self) -> int:
        """How many candidates there are, the original among them."""
        return len(self._standings)

    def add(self, candidate: Candidate) -> Judged:
        """Take in a candidate, or a newer version of one, and judge it among those that are known."""
        if candidate.id in self._standings:
            self._remove(self._standings[candidate.id])
        why = outside(candidate, self.objectives, self.limits)
        new = self._standing(candidate, why[0] if why else "dominated")
        self._standings[new.id] = new
        self._counts[new.state] += bool(new.id)
        if why is None:
            self._place(new)
        elif new.state in OUTSIDE:
            self._broken.update(new.broken)
            self._nearest = _nearer(self._nearest, new)
        return Judged(candidate=candidate, state=new.state, reason=why[1] if why else "")

    def state(self, number: int) -> State | None:
        """Give a candidate's standing by its id; None for one that is not known."""
        known = self._standings.get(number)
        return known.state if known else None

    @property
    def members(self) -> list[Standing]:
        """The candidates on the front, the fastest (or smallest) first."""
        first = next((index for index, name in enumerate(self.objectives) if name != "accuracy"), 0)
        return sorted(self._front.values(), key=lambda member: (member.figures[first], member.id))

    @property
    def counts(self) -> dict[State, int]:
        """How many candidates there are of each state, the original not counted."""
        return {state: count for state, count in self._counts.items() if count}

    @property
    def hypervolume(self) -> float:
        """The dominated share of the box between ideal and limits, from 0 to 1."""
        if self._volume is None:
            self._volume = _hypervolume([member.point for member in self._front.values()])
        return self._volume

    def gain(self, point: Sequence[float], beside: Iterable[Sequence[float]] = ()) -> float:
        """Give the hypervolume that a point would add to the front, all being judged on the same split.

        Args:
            point: objectives from 0, the ideal, to 1, the limit, as `Limits.scaled` gives them.
            beside: points that are counted on as if they were on the front.
        """
        own = [min(x, 1.0) for x in point]
        # What members dominate of the point's own box, which they reach into from its edges.
        others = (*(member.point for member in self._front.values()), *beside)
        inside = [[max(x, y) for x, y in zip(own, other, strict=True)] for other in others]
        inside = [corner for corner in inside if max(corner) < 1.0]
        return max(math.prod(1.0 - x for x in own) - _hypervolume(inside), 0.0)

    def surpassed(self, point: Sequence[float]) -> Standing | None:
        """Find a member of the front that is at least as good as a point in every objective, scaled as for `gain`."""
        return next((member for member in self._front.values() if _covers(member.point, point)), None)

    def best(self, objective: str) -> Standing | None:
        """Give the front's member that is best in one objective."""
        index = self.objectives.index(objective)
        return min(self._front.values(), key=lambda member: (member.figures[index], member.id), default=None)

    def figure(self, standing: Standing, objective: str) -> Metric | float:
        """Give a member's figure: the accuracy as a number, a cost with its unit and origin but without its band."""
        index = self.objectives.index(objective)
        value = standing.figures[index]
        return -value if objective == "accuracy" else Metric.exact(value, COSTS[objective], standing.origins[index])

    @property
    def nearest_miss(self) -> int | None:
        """The id of the candidate outside the limits that misses them by least."""
        return self._nearest.id if self._nearest else None

    @property
    def binding(self) -> list[str]:
        """The limits that are broken most often."""
        return self.limits.most_broken(self._broken)

    def _standing(self, candidate: Candidate, state: State) -> Standing:
        if state in OUTSIDE:
            broken = tuple(self.limits.broken(candidate))
            return Standing(candidate.id, state, broken=self._share(broken), miss=self.limits.miss(candidate))
        if state != "dominated":
            return Standing(candidate.id, state)
        figures = tuple(cost(candidate, name) for name in self.objectives)
        point = tuple(self.limits.scaled(candidate, name) for name in self.objectives)
        known = candidate.metrics
        origins = tuple(known[name].origin if name in known else "measured" for name in self.objectives)
        return Standing(candidate.id, state, figures, point, self._share(origins))

    def _share(self, value: tuple[T, ...]) -> tuple[T, ...]:
        return self._shared.setdefault(value, value)

    def _place(self, new: Standing) -> None:
        """Put a candidate that is inside the limits onto the front or behind it."""
        beaten = []
        for member in self._front.values():
            if member.figures == new.figures:
                if member.id < new.id:
                    return
                beaten.append(member)  # of equals the first is on the front
            elif _covers(member.figures, new.figures):
                return
            elif _covers(new.figures, member.figures):
                beaten.append(member)
        for member in beaten:
            del self._front[member.id]
            self._move(member, "dominated")
        self._front[new.id] = new
        self._move(new, "front")
        self._volume = None

    def _move(self, standing: Standing, state: State) -> None:
        self._counts[standing.state] -= bool(standing.id)
        standing.state = state
        self._counts[state] += bool(standing.id)

    def _remove(self, old: Standing) -> None:
        del self._standings[old.id]
        self._counts[old.state] -= bool(old.id)
        self._broken.subtract(old.broken)
        if self._nearest is old:
            self._nearest = None
            for other in self._standings.values():
                self._nearest = _nearer(self._nearest, other)
        if self._front.pop(old.id, None) is not None:
            self._volume = None
            # Whoever was behind the old version alone comes to the front again.
            for other in self._standings.values():
                if other.state == "dominated" and _covers(old.figures, other.figures):
                    self._place(other)


def _covers(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(x <= y for x, y in zip(one, other, strict=True))


def _nearer(one: Standing | None, other: Standing) -> Standing | None:
    if math.isinf(other.miss):
        return one
    return other if one is None or (other.miss, other.id) < (one.miss, one.id) else one


def _hypervolume(points: Sequence[Sequence[float]]) -> float:
    if not points:
        return 0.0
    import moocore

    clipped = [[min(x, 1.0) for x in point] for point in points]
    return float(moocore.hypervolume(clipped, ref=[1.0] * len(points[0])))
