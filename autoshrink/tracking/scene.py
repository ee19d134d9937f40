"""What a picture of the front shows, before it is drawn: panels, marks and words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from autoshrink.core import COSTS, Candidate, Front, show_quantity
from autoshrink.core.front import Judged, accuracy_of

__all__ = ["Group", "Mark", "Panel", "Scene", "scene_of"]

Group = Literal["front", "dominated", "over_budget", "original"]

_SCALES = {
    "s": (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9)),
    "B": (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1.0)),
    "J": (("J", 1.0), ("mJ", 1e-3), ("µJ", 1e-6), ("nJ", 1e-9)),
}
_WIDE = 12.0
"""From this ratio of largest to smallest an axis is logarithmic."""


@dataclass(frozen=True)
class Mark:
    """One candidate in one panel."""

    id: int
    group: Group
    x: float
    y: float
    low: float
    high: float
    modelled: bool
    knee: bool
    text: tuple[str, ...]
    """What a person reads when pointing at it, line by line."""


@dataclass(frozen=True)
class Panel:
    """Accuracy against one cost, in a unit for people."""

    cost: str
    unit: str
    log: bool
    range: tuple[float, float]
    limit: float | None
    limit_text: str
    marks: tuple[Mark, ...]

    def group(self, name: Group) -> list[Mark]:
        """Give the marks of one group."""
        return [mark for mark in self.marks if mark.group == name]

    @property
    def ticks(self) -> list[float]:
        """Where a logarithmic axis is labelled: 1, 2, 5, 10, … or every power of ten when it is long."""
        low, high = self.range
        steps = (1, 2, 5) if high / low < 1000 else (1,)
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        return [tick for power in powers for step in steps if low <= (tick := step * 10.0**power) <= high]

    @property
    def best_line(self) -> list[Mark]:
        """The front's members that are best in this panel alone, the cheapest first."""
        line: list[Mark] = []
        for mark in sorted(self.group("front"), key=lambda mark: (mark.x, -mark.y)):
            if not line or mark.y > line[-1].y:
                line.append(mark)
        return line


@dataclass(frozen=True)
class Scene:
    """All panels of a picture, which share the axis of accuracy."""

    title: str
    subtitle: str
    footnote: str
    panels: tuple[Panel, ...]
    accuracy_label: str
    range: tuple[float, float]
    floor: float
    floor_text: str

    def shown(self, panel: Panel, mark: Mark) -> tuple[float, float]:
        """Where a mark is drawn: inside the panel, at its edge when it is far outside."""
        (left, right), (bottom, top) = panel.range, self.range
        return min(max(mark.x, left), right), min(max(mark.y, bottom), top)


def scene_of(front: Front, baseline: Candidate, title: str) -> Scene:
    """Compose the picture of a front."""
    percent = _is_fraction(front)
    scale = 100.0 if percent else 1.0
    others = [item for item in front.judged if item.candidate.id != baseline.id]
    measured = [item for item in others if item.candidate.metrics and accuracy_of(item.candidate) is not None]
    original = next((item.state for item in front.judged if item.candidate.id == baseline.id), None)
    drawn = [(item.candidate, _group(item)) for item in measured]
    drawn.append((baseline, "front" if original == "front" else "original"))
    knee = front.knee()
    panels = tuple(
        panel for name in _panels(front, baseline) if (panel := _panel(front, name, drawn, knee, scale)) is not None
    )
    floor = front.limits.floor if front.limits.test_floor is None else front.limits.test_floor
    bounds = _accuracy_range([mark for panel in panels for mark in panel.marks], floor * scale)
    return Scene(
        title=title,
        subtitle=_subtitle(front, baseline, knee, scale),
        footnote=_footnote(front, others, panels),
        panels=panels,
        accuracy_label="accuracy, %" if percent else "accuracy",
        range=(bounds[0], min(bounds[1], 100.0 + 0.04 * (100.0 - bounds[0])) if percent else bounds[1]),
        floor=floor * scale,
        floor_text=f"floor {_score(floor, scale)}",
    )


def _panels(front: Front, baseline: Candidate) -> list[str]:
    wanted = [name for name in COSTS if name in front.objectives or name in front.limits.costs]
    known = {name for item in front.judged for name in item.candidate.metrics} | set(baseline.metrics)
    return [name for name in wanted if name in known] or [name for name in COSTS if name in known]


def _panel(
    front: Front, name: str, drawn: Sequence[tuple[Candidate, Group]], knee: Candidate | None, scale: float
) -> Panel | None:
    rows = [(candidate, group, candidate.metrics[name]) for candidate, group in drawn if name in candidate.metrics]
    if not rows:
        return None
    limit = front.limits.costs.get(name)
    core = [metric.value for _, group, metric in rows if group in ("front", "original")]
    core += [metric.value for _, group, metric in rows] if not front.members else []
    core += [limit] if limit is not None else []
    low, high = min(core), max(core)
    log = high / max(low, 1e-30) > _WIDE
    unit, factor = _unit(COSTS[name], math.sqrt(low * high))
    inside = [metric.value for _, _, metric in rows if low / 2 <= metric.value <= (2 * high if log else 1.3 * high)]
    low, high = min([low, *inside]) / factor, max([high, *inside]) / factor
    span = (low / (high / low) ** 0.05, high * (high / low) ** 0.05) if log else (0.0, high * 1.06)
    marks = tuple(
        Mark(
            id=candidate.id,
            group=group,
            x=metric.value / factor,
            y=(accuracy_of(candidate) or 0.0) * scale,
            low=metric.low / factor,
            high=metric.high / factor,
            modelled=metric.origin == "modelled",
            knee=knee is not None and candidate.id == knee.id,
            text=_words(candidate, front.limits.explain(candidate), scale),
        )
        for candidate, group, metric in rows
    )
    shown = "" if limit is None else f"limit {show_quantity(limit, COSTS[name])}"
    return Panel(name, unit, log, span, None if limit is None else limit / factor, shown, marks)


def _accuracy_range(marks: Sequence[Mark], floor: float) -> tuple[float, float]:
    core = [mark.y for mark in marks if mark.group in ("front", "original")] + [floor]
    low, high = min(core), max(core)
    room = max(high - low, 0.02 * abs(high), 1e-9)
    low = min([low, *(mark.y for mark in marks if mark.y >= low - 0.6 * room)])
    high = max([high, *(mark.y for mark in marks if mark.y <= high + room)])
    return low - 0.12 * room, high + 0.12 * room


def _group(item: Judged) -> Group:
    return "front" if item.state == "front" else "over_budget" if item.state == "over_budget" else "dominated"


def _is_fraction(front: Front) -> bool:
    scores = [score for item in front.judged if (score := accuracy_of(item.candidate)) is not None]
    return 0 <= front.limits.floor <= 1 and all(0 <= score <= 1 for score in scores)


def _unit(base: str, value: float) -> tuple[str, float]:
    scales = _SCALES[base]
    return next((scale for scale in scales if value >= scale[1]), scales[-1])


def _score(value: float, scale: float) -> str:
    return f"{100 * value:.1f} %" if scale == 100 else f"{value:.4g}"


def _words(candidate: Candidate, broken: str, scale: float) -> tuple[str, ...]:
    lines = [f"candidate {candidate.id}", *candidate.recipe.describe().split(" → ")]
    for split, score in candidate.accuracy.model_dump(exclude_none=True).items():
        lines.append(f"accuracy ({split}): {_score(score, scale)}")
    for name, metric in candidate.metrics.items():
        band = "" if metric.low == metric.high else f" ({show_quantity(metric.low, metric.unit)} to "
        band += "" if metric.low == metric.high else f"{show_quantity(metric.high, metric.unit)})"
        lines.append(f"{name}: {show_quantity(metric.value, metric.unit)}{band}, {metric.origin}")
    return (*lines, *broken.split("; ")) if broken else tuple(lines)


def _subtitle(front: Front, baseline: Candidate, knee: Candidate | None, scale: float) -> str:
    tried = sum(item.candidate.id != baseline.id for item in front.judged)
    if knee is None:
        return f"none of {tried} candidates meets the limits"
    before, after = accuracy_of(baseline), accuracy_of(knee)
    figures = []
    for name in _panels(front, baseline):
        if name in knee.metrics:
            metric, old = knee.metrics[name], baseline.metrics.get(name)
            value = show_quantity(metric.value, metric.unit)
            figures.append(f"{name} {value}" if old is None else f"{_times(old.value / metric.value, name)} ({value})")
    change = ""
    if before is not None and after is not None:
        change = f" ({scale * (after - before):+.{1 if scale == 100 else 3}f} points)".replace("-", "−")
    return (
        f"{len(front.members)} of {tried} candidates are on the front. Its knee, candidate {knee.id}: "
        f"{', '.join(figures)}, at {_score(after or 0.0, scale)} accuracy{change}."
    )


_WORDS = {"latency": ("faster", "slower"), "size": ("smaller", "larger")}


def _times(ratio: float, name: str) -> str:
    if 0.95 < ratio < 1.05:
        return f"{name} unchanged"
    better, worse = _WORDS.get(name, (f"less {name}", f"more {name}"))
    return f"{ratio:.1f}× {better}" if ratio >= 1 else f"{1 / ratio:.1f}× {worse}"


def _footnote(front: Front, others: Sequence[Judged], panels: Sequence[Panel]) -> str:
    notes = []
    if front.members and all(member.accuracy.test is not None for member in front.members):
        notes.append("Accuracy of the front and of the original: test split; of others: mostly validation split.")
    elif front.members:
        notes.append("Accuracy on the validation split.")
    if any(mark.modelled for panel in panels for mark in panel.marks):
        notes.append("Hollow: modelled, not measured.")
    lost = sum(not item.candidate.metrics for item in others)
    if lost:
        notes.append(f"{lost} candidates were refused or failed and are not shown.")
    notes.append("Bars: the band of a figure. Triangles at an edge: farther out.")
    return " ".join(notes)
