"""What a candidate of an earlier search will be worth on another device, foretold from what it cost on that one."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from autoshrink.core import COSTS, Candidate, Measurement, Metric, Tally, Target
from autoshrink.search.lineage import Known
from autoshrink.search.report import limits_for

__all__ = ["Format", "Transfer"]

_HOPE = 0.9
"""A candidate is worth a try if it would be on the front with this share of the costs that are foretold."""

Format = tuple[object, ...]
"""What the costs of candidates change alike by: the number format."""


class Transfer:
    """Foretells costs by how the original, and then others in the same number format, changed from there to here.

    The accuracy is taken to stay what it was, on the test split where an earlier search confirmed it: whoever fell
    below the floor there would do so again. This decides only what is measured first; nothing new is made of it.
    """

    def __init__(self, target: Target, original: Candidate) -> None:
        """Begin before anything is measured here.

        Args:
            target: what is searched for now.
            original: the original model as the latest search measured it.
        """
        self._target = target
        self._here: Mapping[str, Metric] | None = None
        self._ratios: dict[Format, dict[str, list[float]]] = {}
        self.tally = Tally(target.metrics, limits_for(target, original))
        """The standing of what is measured here, by the test split where that is known."""

    def arrive(self, original: Candidate, measured: Sequence[Candidate]) -> None:
        """Take in what the original costs here, and what was measured here before."""
        self._here = original.metrics
        others = (candidate for candidate in measured if candidate.id)
        self.tally = Tally(self._target.metrics, limits_for(self._target, original), [original, *others])

    def learn(self, known: Known, format: Format, candidate: Candidate) -> None:
        """Take in what a candidate came to here."""
        self.tally.add(candidate)
        plain, learned = self._costs(known, {}), self._ratios.setdefault(format, {})
        for name, metric in candidate.metrics.items():
            if name in plain and plain[name].value:
                learned.setdefault(name, []).append(metric.value / plain[name].value)

    def knows(self, format: Format) -> bool:
        """Whether anything in this format was measured here."""
        return format in self._ratios

    def gain(self, known: Known, format: Format, beside: Sequence[Sequence[float]]) -> float:
        """Give the hypervolume that a candidate may add to the front, at best.

        Args:
            known: the candidate.
            format: its own.
            beside: the points of those that are in work.
        """
        return self.tally.gain(self.point(known, format, _HOPE), beside)

    def point(self, known: Known, format: Format, hope: float = 1.0) -> list[float]:
        """Foretell the objectives of a candidate, scaled from the ideal to the limits; with hope below 1, at best."""
        ratios = {name: statistics.median(found) for name, found in self._ratios.get(format, {}).items()}
        metrics = {name: _times(metric, hope) for name, metric in self._costs(known, ratios).items()}
        imagined = known.candidate.model_copy(update={"measurement": Measurement(metrics=metrics)})
        # A metric that nobody measured there is foretold to be as good as can be.
        return [
            self.tally.limits.scaled(imagined, name) if name == "accuracy" or name in metrics else 0.0
            for name in self.tally.objectives
        ]

    def _costs(self, known: Known, ratios: Mapping[str, float]) -> dict[str, Metric]:
        there = known.original.metrics
        here = there if self._here is None else self._here
        return {
            name: _times(metric, here[name].value / there[name].value * ratios.get(name, 1.0))
            for name, metric in known.candidate.metrics.items()
            if name in COSTS and name in here and name in there and there[name].value
        }


def _times(metric: Metric, factor: float) -> Metric:
    scaled = {name: getattr(metric, name) * factor for name in ("value", "low", "high")}
    return metric.model_copy(update=scaled)
