"""The funnel: which candidates are worth a training, which of them first, and which can be given up."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from autoshrink.core import Accuracy, Candidate, Limits, Measurement, Metric, Recipe, Tally
from autoshrink.models.recovery import RUNGS
from autoshrink.search.flight import Flight
from autoshrink.search.forecast import Clues, Expected, Forecast
from autoshrink.search.work import Measured

__all__ = ["Funnel"]

_HOPE = 0.25
"""Where between a forecast's mean and its best a candidate is valued: what is uncertain teaches something."""
_PAYS = 4
"""A short rung is trained first where the whole recovery takes so many times what it costs to look at a candidate."""


class Funnel:
    """Judges candidates under way by what is known of them and of those that are finished."""

    def __init__(self, limits: Limits, objectives: Sequence[str], original: Candidate) -> None:
        self._limits = limits
        self._objectives = tuple(objectives)
        size = original.metrics["size"].value if "size" in original.metrics else 1.0
        self._forecast = Forecast(limits.ideal, Clues(len(RUNGS), original.accuracy.validation, original.facts, size))
        self._paces: list[float] = []
        self._looks: list[float] = []

    def over_budget(self, measurement: Mapping[str, Metric]) -> str:
        """Say which limits the costs alone break; empty when none."""
        candidate = _imagined(measurement, None)
        return self._limits.explain(candidate, costs_only=True)

    def doubtful(self, measurement: Mapping[str, Metric]) -> bool:
        """Whether every limit that is broken is broken by the width of a band only."""
        broken = [name for name in self._limits.excess(_imagined(measurement, None)) if name != "accuracy"]
        return all(name in measurement and measurement[name].low <= self._limits.costs[name] for name in broken)

    def hopeless(self, flight: Flight, tally: Tally) -> str:
        """Say why the rest of a recovery would be wasted, as far as that is certain; empty when it isn't."""
        expected = self.expected(flight)
        if expected.best < self._limits.floor:
            return (
                f"{_known(flight)} to end at {expected.value:.4g} and at best at {expected.best:.4g}, below the floor "
                f"{self._limits.floor:.4g}"
            )
        better = tally.surpassed(self._point(flight, expected.best, best=True))
        if better is None:
            return ""
        return f"{_known(flight)} to end at {expected.value:.4g}: candidate {better.id} is better in everything"

    def good_untrained(self, flight: Flight, tally: Tally) -> bool:
        """Whether a candidate would be on the front as it is, before any training."""
        if flight.accuracy is None or flight.accuracy < self._limits.floor:
            return False
        return tally.surpassed(self._point(flight, flight.accuracy, best=False)) is None

    def near(self, candidate: Candidate) -> bool:
        """Whether another number format could bring a candidate above the floor that is a little below it."""
        limits, accuracy = self._limits, candidate.accuracy.validation
        return accuracy is not None and 0 < limits.floor - accuracy <= 0.1 * (limits.ideal - limits.floor)

    def below(self, flight: Flight) -> bool:
        """Whether even the best that is foretold is below the floor."""
        return self.expected(flight).best < self._limits.floor

    def gain(self, flight: Flight, tally: Tally) -> float:
        """Give the hypervolume that a candidate is foretold to add to the front for the work of its training.

        The forecast is taken a little above its mean; the work is counted in multiply-accumulates.
        """
        expected = self.expected(flight)
        hoped = expected.value + _HOPE * (expected.best - expected.value)
        if hoped < self._limits.floor:
            return hoped - self._limits.floor  # all below the floor: the nearest first
        return tally.gain(self._point(flight, hoped, best=False)) / max(flight.clues[-1].facts["macs"], 1.0)

    def expected(self, flight: Flight) -> Expected:
        """Foretell a candidate's accuracy after all of its recovery."""
        return self._forecast.of(flight.clues[-1])

    def good(self, figures: Measured) -> bool:
        """Whether an artifact keeps every limit."""
        return not self._limits.excess(_imagined(figures.measurement.metrics, figures.accuracy.validation))

    def rung(self, flight: Flight) -> int:
        """Choose what to train next: a short recovery first, where the whole one takes much longer than a look.

        What is good enough untrained needs no look, and as long as nobody knows what a training takes, all others do.
        """
        if flight.rung or (flight.accuracy is not None and flight.accuracy >= self._limits.floor):
            return len(RUNGS)
        if not self._paces or not self._looks:
            return 1
        whole = statistics.median(self._paces) * flight.clues[-1].facts["macs"]
        return 1 if whole > _PAYS * statistics.median(self._looks) else len(RUNGS)

    def learn(self, flight: Flight) -> None:
        """Take in a finished candidate."""
        if flight.accuracy is not None:
            for clues in flight.clues[:-1]:
                self._forecast.learn(clues, flight.accuracy)

    def trained(self, flight: Flight, seconds: float) -> None:
        """Take in what a flight's last training took."""
        rung = RUNGS[flight.rung - 1]
        self._paces.append(seconds / (rung.share * rung.epochs) / max(flight.built.facts["macs"], 1.0))

    def looked(self, seconds: float) -> None:
        """Take in what it took to export and score a candidate."""
        self._looks.append(seconds)

    def _point(self, flight: Flight, accuracy: float, *, best: bool) -> list[float]:
        metrics = flight.sketch.measurement.metrics if flight.sketch else {}
        if best:
            metrics = {name: metric.model_copy(update={"value": metric.low}) for name, metric in metrics.items()}
        candidate = _imagined(metrics, accuracy)
        return [self._limits.scaled(candidate, name) for name in self._objectives]


def _imagined(metrics: Mapping[str, Metric], accuracy: float | None) -> Candidate:
    return Candidate(
        id=-1,
        recipe=Recipe(),
        outcome="measured",
        measurement=Measurement(metrics=dict(metrics)),
        accuracy=Accuracy(validation=accuracy),
    )


def _known(flight: Flight) -> str:
    when = "after a short recovery" if flight.rung else "before its recovery"
    known = "unknown" if flight.accuracy is None else f"{flight.accuracy:.4g}"
    return f"accuracy {known} {when}, foretold"
