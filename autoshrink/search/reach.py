"""Whether a budget can be met at all: what the corners of the space cost on the target, before any training."""

from __future__ import annotations

import time
from collections.abc import Mapping

from autoshrink.core import COSTS, Candidate, Limits, Measurement, Metric, Recipe, show_quantity
from autoshrink.core.documents import Frozen
from autoshrink.search import work
from autoshrink.search.corners import corners
from autoshrink.search.flight import Sketch
from autoshrink.search.session import Session
from autoshrink.search.workers import Work
from autoshrink.techniques.base import Accepts, Stage
from autoshrink.techniques.registry import until

__all__ = ["Corners", "Reach"]

_FIRST = 2
"""Corners that are always measured; the others only while a limit has not been reached."""
_SECONDS = 5.0
"""How long others are looked at: what the likeliest corners are far from, the unlikely ones don't reach."""


class Reach(Frozen):
    """What a space can reach on a target: the least and the most of each metric, and the corners that were measured."""

    least: dict[str, Metric]
    most: dict[str, Metric]
    measured: tuple[tuple[Recipe, Measurement], ...] = ()

    def impossible(self, limits: Limits) -> list[str]:
        """Say which limits even the optimistic end of the least is above, one sentence each."""
        return [
            f"{name}: nothing in this space comes below {show_quantity(self.least[name].value, COSTS[name])} on this "
            f"target, and the limit is {show_quantity(limit, COSTS[name])}"
            for name, limit in limits.costs.items()
            if name in self.least and self.least[name].low > limit
        ]

    def to_words(self) -> str:
        """Print it on one line: ``latency 12.1 … 133 µs, size 9.1 kB … 1.30 MB``."""
        return ", ".join(
            f"{name} {show_quantity(low.value, low.unit)} … {show_quantity(self.most[name].value, low.unit)}"
            for name, low in self.least.items()
        )


class Corners:
    """The corners of a search's space: shapes are asked for at once, and measured when the original is known."""

    def __init__(self, session: Session, accepts: Accepts) -> None:
        self._session = session
        self._waiting = corners(session.target.search.space, accepts)
        self._shaping: dict[Work, Recipe] = {}
        self._measuring: dict[Work, tuple[Recipe, work.Compressed]] = {}
        self._found: list[tuple[Recipe, Measurement]] = []
        self._known: Reach | None = None
        if kept := session.store.read_json("reach.json"):
            self._known = Reach.model_validate(kept)
        else:
            for _ in range(_FIRST):
                self._ask()

    def measure(self, reference: work.Compressed, limits: Limits) -> Reach:
        """Measure corners until every limit is reached by one of them, or there are no more.

        No gradient step is taken. What can't be built or measured is no corner. A resumed search knows it already, and
        what an earlier search measured is not measured again.
        """
        session = self._session
        reach = self._known or self._measure(reference, limits)
        session.store.write_json("reach.json", reach.model_dump(mode="json"))
        session.reach = reach.to_words()
        return reach

    def _ask(self) -> bool:
        """Look the next corner up, or have it built; False where there is none."""
        recipe = next(self._waiting, None)
        if recipe is None:
            return False
        known = self._session.reuse.sketch(recipe.key)
        if known is not None:
            self._found.append((recipe, known.measurement))
        else:
            self._shaping[self._session.pool.compress(recipe, 0)] = recipe
        return True

    def _measure(self, reference: work.Compressed, limits: Limits) -> Reach:
        session = self._session
        session.show("measuring what the space can reach")
        begun = time.monotonic()
        while True:
            reach = _reach(self._found, session.original)
            late = time.monotonic() - begun > _SECONDS
            enough = len(self._found) >= _FIRST and (late or not reach.impossible(limits))
            running = [*self._shaping, *self._measuring]
            short = len(self._found) + len(running) < _FIRST or (len(self._found) >= _FIRST and not enough)
            if short and len(running) < session.target.search.workers and self._ask():
                continue
            if not running:
                return reach
            for ended in session.pool.wait(running, timeout=1.0):
                self._take(ended, reference, enough=enough)
            session.show()

    def _take(self, ended: Work, reference: work.Compressed, *, enough: bool) -> None:
        pool, answer = self._session.pool, self._session.pool.take(ended)
        if ended in self._measuring:
            recipe, made = self._measuring.pop(ended)
            if answer.kind == "done":
                _keep(self._session, recipe, made, answer.result)
                self._found.append((recipe, answer.result.measurement))
        else:
            recipe = self._shaping.pop(ended)
            if answer.kind == "done" and not enough:
                asked = pool.measure(answer.result, reference, self._session.original.measurement, effort="quick")
                self._measuring[asked] = recipe, answer.result


def _keep(session: Session, recipe: Recipe, made: work.Compressed, measured: work.Measured) -> None:
    """Spare the search the work, where it comes to this recipe or to one that only adds a recovery."""
    accuracy = measured.accuracy.validation
    sketch = Sketch(artifact=made.artifact, measurement=measured.measurement, accuracy=accuracy, facts=made.facts)
    session.reuse.keep_sketch(recipe.key, sketch)
    session.reuse.keep_start(until(recipe, Stage.STRUCTURE).key, made.start)


def _reach(found: list[tuple[Recipe, Measurement]], original: Candidate) -> Reach:
    everything: list[Mapping[str, Metric]] = [original.metrics, *(measurement.metrics for _, measurement in found)]
    names = [name for name in COSTS if name in original.metrics]
    known = {name: [metrics[name] for metrics in everything if name in metrics] for name in names}
    return Reach(
        least={name: min(metrics, key=lambda metric: metric.low) for name, metrics in known.items()},
        most={name: max(metrics, key=lambda metric: metric.value) for name, metrics in known.items()},
        measured=tuple(found),
    )
