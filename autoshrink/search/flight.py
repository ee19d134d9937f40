"""A candidate under way: what is known of it before and after a short recovery and the whole one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from autoshrink.core import Accuracy, Artifact, Candidate, Measurement, Metric, Recipe
from autoshrink.core.documents import Frozen
from autoshrink.models.recovery import RUNGS
from autoshrink.search.forecast import Clues
from autoshrink.search.sampler import Draw
from autoshrink.search.work import Compressed, Measured
from autoshrink.techniques.base import Stage
from autoshrink.techniques.registry import recovery_of, techniques_of, until, untrained

__all__ = ["Flight", "Lesson", "Sketch", "Step"]

Step = Literal["shape", "cost", "train", "score"]
"""Apply and export without training; measure that; train and export; let the runtime answer the validation split."""

_SAME = "an artifact with the same shapes, operators and number formats"


class Sketch(Frozen):
    """What is known before any training: costs on the device, and the accuracy without recovery."""

    artifact: Artifact
    measurement: Measurement
    accuracy: float | None
    facts: dict[str, float]


class Lesson(NamedTuple):
    """A recipe's recovery and what comes before it, by their keys: what recipes with the same weights share."""

    structure: str
    recovery: str

    @classmethod
    def of(cls, recipe: Recipe) -> Lesson:
        """Name a recipe's."""
        return cls(until(recipe, Stage.STRUCTURE).key, recovery_of(recipe).key)


@dataclass
class Flight:
    """One recipe on its way through the funnel."""

    id: int
    draw: Draw
    made: Compressed | None = None
    sketch: Sketch | None = None
    rung: int = 0
    """The recovery that ``accuracy`` and ``made`` stand for: none, a short one, the whole one."""
    accuracy: float | None = None
    clues: list[Clues] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    taught: bool = False
    """Whether the last weights were trained for it, and not known from another candidate."""
    tries: int = 0

    def __post_init__(self) -> None:
        techniques = techniques_of(self.recipe)
        self.recovers = any(item.stage is Stage.RECOVERY for item in techniques)
        self.skeleton = untrained(self.recipe).key
        self.lesson = Lesson.of(self.recipe)

    @property
    def recipe(self) -> Recipe:
        """What is tried."""
        return self.draw.recipe

    @property
    def built(self) -> Compressed:
        """The artifact with its files that was made last."""
        if self.made is None:
            raise RuntimeError(f"candidate {self.id} has no artifact yet")
        return self.made

    @property
    def artifact(self) -> Artifact:
        """The artifact that was made last."""
        return self.built.artifact

    @property
    def complete(self) -> bool:
        """Whether nothing is left to train."""
        return self.rung == len(RUNGS) or not self.recovers

    def spend(self, seconds: dict[str, float]) -> None:
        """Add what a worker spent on it."""
        for stage, spent in seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + spent

    def know(self, sketch: Sketch) -> None:
        """Take in the costs, and the accuracy before any training."""
        self.sketch = sketch
        self._see(sketch.accuracy, sketch.facts, sketch.artifact.size)

    def score(self, accuracy: float | None) -> None:
        """Take in the accuracy after a recovery."""
        self._see(accuracy, self.built.facts, self.artifact.size)

    def candidate(self, outcome: Literal["refused", "failed", "stopped"], reason: str) -> Candidate:
        """Give what became of it, if that is no artifact; a stopped one keeps what is known."""
        sketch = self.sketch if outcome == "stopped" else None
        return Candidate(
            id=self.id,
            recipe=self.recipe,
            outcome=outcome,
            reason=reason,
            measurement=sketch.measurement if sketch else Measurement(),
            accuracy=Accuracy(validation=self.accuracy if sketch and self.rung else None),
            facts=sketch.facts if sketch else {},
            seconds=self.seconds,
        )

    def figures(self, measured: Measured, alike: Sketch | None) -> Measured:
        """Complete what was measured: an artifact that was only scored costs what its like did, but for its size."""
        if measured.measurement.metrics or alike is None:
            return measured
        metrics = {**alike.measurement.metrics, "size": Metric.exact(self.artifact.size, "B")}
        conditions = {**alike.measurement.conditions, "measured_on": _SAME}
        return Measured(Measurement(metrics=metrics, conditions=conditions), measured.accuracy, measured.seconds)

    def _see(self, accuracy: float | None, facts: dict[str, float], size: float) -> None:
        self.accuracy = accuracy
        self.clues.append(Clues(self.rung, accuracy, facts, size))
