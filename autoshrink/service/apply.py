"""One recipe by itself: the same artifact and accuracy as in the search that found it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoshrink.core import Accuracy, Artifact, Measurement, Recipe, Target
from autoshrink.search.nodes import place_of
from autoshrink.search.work import compress_recipe, measure_artifact
from autoshrink.service.run import check
from autoshrink.techniques.registry import canonical

__all__ = ["Applied", "apply_recipe"]


@dataclass(frozen=True)
class Applied:
    """What one recipe gave."""

    recipe: Recipe
    artifact: Artifact
    measurement: Measurement
    accuracy: Accuracy
    facts: dict[str, float]
    seconds: dict[str, float]

    def document(self) -> dict[str, Any]:
        """Write it as a JSON document, in base units."""
        return {
            "key": self.recipe.key,
            "recipe": self.recipe.model_dump(mode="json"),
            "artifact": self.artifact.model_dump(mode="json"),
            "metrics": {name: metric.model_dump() for name, metric in self.measurement.metrics.items()},
            "conditions": self.measurement.conditions,
            "accuracy": self.accuracy.model_dump(),
            "facts": self.facts,
            "seconds": self.seconds,
        }


def apply_recipe(target: Target, recipe: Recipe, to: Path | None = None) -> Applied:
    """Compress and measure in this process, in turn with the original, on the validation and the test split.

    Args:
        target: model, data and hardware.
        recipe: what to do; an empty one gives the original.
        to: a folder for the artifact's files.

    Raises:
        SpecError: recipe or target is wrong.
        Refusal: the recipe can't be applied to this model or hardware.
        DeviceError: the device did not do what it was asked to.
    """
    recipe = canonical(recipe)
    check(target)
    made = compress_recipe(target, recipe)
    original = compress_recipe(target, Recipe())
    with tempfile.TemporaryDirectory(prefix="autoshrink-") as scratch:
        measured = measure_artifact(
            target,
            made.artifact,
            made.files,
            (original.artifact, original.files),
            splits=("validation", "test"),
            scratch=Path(scratch),
            place=place_of(target.hardware),
        )
    if to is not None:
        to.mkdir(parents=True, exist_ok=True)
        for name, content in made.files.items():
            (to / name).write_bytes(content)
        (to / "recipe.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    seconds = {**made.seconds, **measured.seconds}
    return Applied(recipe, made.artifact, measured.measurement, measured.accuracy, made.facts, seconds)
