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
from autoshrink.techniques.base import Accepts

__all__ = ["Reach", "measure_reach"]

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


def measure_reach(session: Session, accepts: Accepts, reference: work.Compressed, limits: Limits) -> Reach:
    """Measure corners of the space until every limit is reached by one of them, or there are no more.

    No gradient step is taken. What can't be built or measured is no corner. A resumed search knows it already.
    """
    kept = session.store.read_json("reach.json")
    reach = Reach.model_validate(kept) if kept else _measure(session, accepts, reference, limits)
    session.store.write_json("reach.json", reach.model_dump(mode="json"))
    session.reach = reach.to_words()
    return reach


def _measure(session: Session, accepts: Accepts, reference: work.Compressed, limits: Limits) -> Reach:
    session.show("measuring what the space can reach")
    begun = time.monotonic()
    space, original = session.target.search.space, session.original
    waiting = corners(space, accepts)
    reach = _reach([], original)
    shaping: dict[Work, Recipe] = {}
    measuring: dict[Work, tuple[Recipe, work.Compressed]] = {}
    found: list[tuple[Recipe, Measurement]] = []
    while True:
        late = time.monotonic() - begun > _SECONDS
        enough = len(found) >= _FIRST and (late or not reach.impossible(limits))
        while not enough and len(shaping) + len(measuring) < session.target.search.workers:
            recipe = next(waiting, None)
            if recipe is None:
                break
            shaping[session.pool.compress(recipe, 0)] = recipe
        if not shaping and not measuring:
            return reach
        for ended in session.pool.wait([*shaping, *measuring], timeout=1.0):
            answer = session.pool.take(ended)
            if ended in measuring:
                recipe, made = measuring.pop(ended)
                if answer.kind == "done":
                    _keep(session, recipe, made, answer.result)
                    found.append((recipe, answer.result.measurement))
                    reach = _reach(found, original)
            else:
                recipe = shaping.pop(ended)
                if answer.kind == "done" and not enough:
                    asked = session.pool.measure(answer.result, reference, original.measurement, effort="quick")
                    measuring[asked] = recipe, answer.result
        session.show()


def _keep(session: Session, recipe: Recipe, made: work.Compressed, measured: work.Measured) -> None:
    """Spare the search the work, where it comes to this recipe or to one that only adds a recovery."""
    accuracy = measured.accuracy.validation
    sketch = Sketch(artifact=made.artifact, measurement=measured.measurement, accuracy=accuracy, facts=made.facts)
    session.reuse.keep_sketch(recipe.key, sketch)


def _reach(found: list[tuple[Recipe, Measurement]], original: Candidate) -> Reach:
    everything: list[Mapping[str, Metric]] = [original.metrics, *(measurement.metrics for _, measurement in found)]
    names = [name for name in COSTS if name in original.metrics]
    known = {name: [metrics[name] for metrics in everything if name in metrics] for name in names}
    return Reach(
        least={name: min(metrics, key=lambda metric: metric.low) for name, metrics in known.items()},
        most={name: max(metrics, key=lambda metric: metric.value) for name, metrics in known.items()},
        measured=tuple(found),
    )
