"""A candidate: recipe + artifact + measurement, or the reason why it was refused or stopped."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from autoshrink.core.documents import Frozen
from autoshrink.core.measurement import Artifact, Measurement, Metric
from autoshrink.core.recipe import Recipe

__all__ = ["Accuracy", "Candidate", "Outcome", "State"]

Outcome = Literal["measured", "refused", "stopped", "failed"]
State = Literal["front", "dominated", "over_budget", "refused", "stopped", "failed"]


class Accuracy(Frozen):
    """The metric of the artifact in its runtime; ``test`` is known only once the search has ended."""

    validation: float | None = None
    test: float | None = None


class Candidate(Frozen):
    """What became of one recipe, as it is stored; its standing on the front is judged among all candidates."""

    id: int
    recipe: Recipe
    outcome: Outcome
    reason: str = ""
    """Why it was refused or stopped, or the traceback of a failure."""
    artifact: Artifact | None = None
    measurement: Measurement = Measurement()
    accuracy: Accuracy = Accuracy()
    facts: dict[str, float] = Field(default_factory=dict)
    """Counts that are no objective: MACs, parameters, non-zero weights."""
    seconds: dict[str, float] = Field(default_factory=dict)
    """Wall time by stage: train, export, measure."""

    @property
    def key(self) -> str:
        """The recipe's content key."""
        return self.recipe.key

    @property
    def metrics(self) -> dict[str, Metric]:
        """The measured figures, by metric."""
        return self.measurement.metrics
