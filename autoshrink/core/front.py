"""The front: the candidates that nothing dominates and that break no limit.

References:
    Fonseca, Guerreiro, López-Ibáñez, Paquete: On the Computation of the Empirical Attainment Function (2011), and the
    `moocore` package, which computes dominance and hypervolume exactly.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from autoshrink.core.candidate import Candidate, State
from autoshrink.core.documents import Frozen
from autoshrink.core.measurement import Metric
from autoshrink.core.quantities import show_quantity
from autoshrink.core.target import COSTS

__all__ = ["Front", "Judged", "Limits", "judge"]

OUTSIDE: tuple[State, ...] = ("over_budget", "stopped")
"""The states of candidates that were given figures and break a limit, or are foretold to."""


class Limits(Frozen):
    """The accuracy floor and the budget, as numbers, with what the original model scored."""

    floor: float
    test_floor: float | None = None
    """The floor on the test split, where it follows from the original's accuracy there; else `floor` holds."""
    costs: dict[str, float]
    """Budget by metric, in base units."""
    baseline: dict[str, float]
    """The original's cost by metric, in base units: the scale of a metric that has no limit."""

    def excess(self, candidate: Candidate) -> dict[str, float]:
        """Give each broken limit, by how much relative to the limit; the pessimistic end of a band counts."""
        broken = {}
        for name, limit in self.costs.items():
            metric = candidate.metrics.get(name)
            if metric is None:
                broken[name] = math.inf
            elif metric.high > limit:
                broken[name] = metric.high / limit - 1
        score = accuracy_of(candidate)
        if score is None:
            broken["accuracy"] = math.inf
        elif score < (floor := self.floor_of(candidate)):
            broken["accuracy"] = floor - score
        return broken

    def broken(self, candidate: Candidate) -> dict[str, float]:
        """Give each broken limit as `excess` does; what a stopped candidate leaves unknown breaks nothing."""
        excess = self.excess(candidate)
        if candidate.outcome != "stopped":
            return excess
        return {name: value for name, value in excess.items() if math.isfinite(value)}

    def floor_of(self, candidate: Candidate) -> float:
        """Give the floor on the split that the candidate's accuracy is known for."""
        if candidate.accuracy.test is None or self.test_floor is None:
            return self.floor
        return self.test_floor

    def explain(self, candidate: Candidate, *, costs_only: bool = False) -> str:
        """Say which limits a candidate breaks and by how much; empty when none."""
        broken = self.broken(candidate).items()
        return "; ".join(
            self._explain(candidate, name, excess) for name, excess in broken if not (costs_only and name == "accuracy")
        )

    def miss(self, candidate: Candidate) -> float:
        """Give by how much a candidate misses the limits, summed: the accuracy as a share of what can be hoped for.

        Infinite when that can't be said: a limited figure is missing, or the candidate breaks nothing that is known.
        """
        scale = max(self.ideal - self.floor, 1e-3)
        broken = self.broken(candidate).items()
        return sum(value / scale if name == "accuracy" else value for name, value in broken) or math.inf

    def scaled(self, candidate: Candidate, objective: str) -> float:
        """Scale an objective: 0 is ideal, 1 is the limit, or the original's value where there is none."""
        if objective == "accuracy":
            span = max(self.ideal - self.floor_of(candidate), 1e-9)
            return max(0.0, (self.ideal + cost(candidate, objective)) / span)
        return max(0.0, cost(candidate, objective) / (self.costs.get(objective) or self.baseline[objective]))

    def _explain(self, candidate: Candidate, name: str, excess: float) -> str:
        if math.isinf(excess):
            return f"{name} is not known"
        if name == "accuracy":
            return (
                f"accuracy {accuracy_of(candidate):.4g} is {excess:.3g} below the floor {self.floor_of(candidate):.4g}"
            )
        limit = show_quantity(self.costs[name], COSTS[name])
        return f"{name} {_band(candidate.metrics[name])} is {_ratio(excess)} the limit of {limit}"

    def most_broken(self, counts: Mapping[str, int]) -> list[str]:
        """Name the limits that are broken most often."""
        most = max(counts.values(), default=0)
        return [name for name in (*self.costs, "accuracy") if most and counts.get(name) == most]

    @property
    def ideal(self) -> float:
        """The best accuracy that can be hoped for: 0 for a negated error, 1 for a fraction, 100 for a percentage."""
        if self.floor < 0:
            return 0.0
        return next((top for top in (1.0, 100.0) if self.floor <= top), 2 * self.floor)


class Judged(Frozen):
    """A candidate with its standing among all."""

    candidate: Candidate
    state: State
    reason: str


class Front(Frozen):
    """All candidates of a search, judged; `members` are those on the front."""

    objectives: tuple[str, ...]
    limits: Limits
    judged: tuple[Judged, ...]

    @property
    def members(self) -> list[Candidate]:
        """The candidates on the front, the fastest (or smallest) first."""
        first = next((name for name in self.objectives if name != "accuracy"), "accuracy")
        members = [item.candidate for item in self.judged if item.state == "front"]
        return sorted(members, key=lambda candidate: (cost(candidate, first), candidate.id))

    @property
    def hypervolume(self) -> float:
        """The dominated share of the box between ideal and limits, from 0 to 1."""
        points = [self.point(member) for member in self.members]
        if not points:
            return 0.0
        import moocore

        return float(moocore.hypervolume([[min(x, 1.0) for x in p] for p in points], ref=[1.0] * len(self.objectives)))

    def point(self, candidate: Candidate) -> list[float]:
        """Scale the objectives: 0 is ideal, 1 is the limit (or the original's value where there is none)."""
        return [self.limits.scaled(candidate, name) for name in self.objectives]

    def knee(self) -> Candidate | None:
        """Give the front's member that is nearest to the best of each objective, each scaled over the front."""
        members = self.members
        if not members:
            return None
        points = [[cost(member, name) for name in self.objectives] for member in members]
        lows, highs = ([extreme(axis) for axis in zip(*points, strict=True)] for extreme in (min, max))
        scaled = [
            [(x - low) / (high - low) if high > low else 0.0 for x, low, high in zip(p, lows, highs, strict=True)]
            for p in points
        ]
        return members[min(range(len(members)), key=lambda i: math.hypot(*scaled[i]))]

    def best(self, objective: str) -> Candidate | None:
        """Give the front's member that is best in one objective or cost."""
        known = [m for m in self.members if objective == "accuracy" or objective in m.metrics]
        return min(known, key=lambda member: (cost(member, objective), member.id), default=None)

    def nearest_miss(self) -> Candidate | None:
        """Give the candidate outside the limits that misses them by least, summed over the limits."""
        misses = [item.candidate for item in self.judged if item.state in OUTSIDE]
        known = [(self.limits.miss(candidate), candidate.id, candidate) for candidate in misses]
        return min((item for item in known if math.isfinite(item[0])), default=(0, 0, None))[2]

    def binding(self) -> list[str]:
        """Name the limits that no candidate meets; without any, those that are broken most often."""
        outside = [item.candidate for item in self.judged if item.state in OUTSIDE]
        counts = Counter(name for candidate in outside for name in self.limits.broken(candidate))
        return self.limits.most_broken(counts)

    def shortfall(self) -> list[str]:
        """Say in words which limit binds, which candidate comes nearest, and by how much it misses."""
        lines = []
        binding = self.binding()
        if binding:
            limits = {"accuracy": f"{self.limits.floor:.4g}"}
            limits |= {name: show_quantity(limit, COSTS[name]) for name, limit in self.limits.costs.items()}
            lines.append("the limit that binds: " + ", ".join(f"{name} {limits[name]}" for name in binding))
        nearest = self.nearest_miss()
        if nearest is not None:
            recipe = "the original model" if nearest.id == 0 else nearest.recipe.describe()
            lines.append(f"the nearest candidate: {nearest.id} ({recipe})")
            lines.append(f"it misses: {self.limits.explain(nearest)}")
        return lines


def judge(candidates: Iterable[Candidate], objectives: Sequence[str], limits: Limits) -> Front:
    """Sort candidates into front, dominated, over budget and not measured.

    Of candidates with equal objectives only the first is on the front. A candidate without a figure for an objective
    can't be compared, and has failed.
    """
    candidates = list(candidates)
    reasons = [outside(candidate, objectives, limits) for candidate in candidates]
    inside = [candidate for candidate, why in zip(candidates, reasons, strict=True) if why is None]
    on_front = set[int]()
    if inside:
        import moocore

        points = [[cost(candidate, name) for name in objectives] for candidate in inside]
        keep = moocore.is_nondominated(points, keep_weakly=False)
        on_front = {candidate.id for candidate, kept in zip(inside, keep, strict=True) if kept}

    def standing(candidate: Candidate, why: tuple[State, str] | None) -> Judged:
        state, reason = why or ("front" if candidate.id in on_front else "dominated", "")
        return Judged(candidate=candidate, state=state, reason=reason)

    judged = tuple(standing(candidate, why) for candidate, why in zip(candidates, reasons, strict=True))
    return Front(objectives=tuple(objectives), limits=limits, judged=judged)


def outside(candidate: Candidate, objectives: Sequence[str], limits: Limits) -> tuple[State, str] | None:
    """Say why a candidate can't be on a front, by itself; None when only others can keep it off."""
    if candidate.outcome != "measured":
        return candidate.outcome, candidate.reason
    if broken := limits.explain(candidate):
        return "over_budget", broken
    unknown = [name for name in objectives if math.isinf(cost(candidate, name))]
    return ("failed", f"no figure for {', '.join(unknown)}") if unknown else None


def accuracy_of(candidate: Candidate) -> float | None:
    """Give the accuracy on the test split once it is known, else on the validation split."""
    return candidate.accuracy.test if candidate.accuracy.test is not None else candidate.accuracy.validation


def cost(candidate: Candidate, objective: str) -> float:
    """Give an objective as a number to be made small."""
    if objective == "accuracy":
        score = accuracy_of(candidate)
        return -score if score is not None else math.inf
    metric = candidate.metrics.get(objective)
    return metric.value if metric is not None else math.inf


def _band(metric: Metric) -> str:
    value = show_quantity(metric.value, metric.unit)
    return value if metric.high == metric.value else f"{value} (up to {show_quantity(metric.high, metric.unit)})"


def _ratio(excess: float) -> str:
    return f"{excess * 100:.3g} % over" if excess < 9 else f"{excess + 1:,.0f} times"
