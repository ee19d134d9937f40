"""The corners of a space: the strongest recipes in it, whose costs say what it can reach on a target."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from autoshrink.core import Range, Recipe, Space
from autoshrink.core.recipe import Scalar
from autoshrink.core.space import Values
from autoshrink.techniques.base import Accepts, Stage
from autoshrink.techniques.registry import draw, technique, untrained

__all__ = ["corners"]


def corners(space: Space, accepts: Accepts) -> Iterator[Recipe]:
    """Give the strongest recipes of a space without their recovery, those first that are likely to cost least.

    The first shrinks shapes by the first technique that can, and encodes in the first number format; then come the
    other formats, shared weights, and the other techniques, alone and together.
    """
    shrinks = [step.kind for step in space.steps if technique(step.kind).stronger]
    shapes = [kind for kind in shrinks if technique(kind).stage is Stage.STRUCTURE]
    codes = [kind for kind in shrinks if technique(kind).stage is Stage.ENCODING]
    groups = [shapes[:1], *([kind] for kind in shapes[1:]), *([shapes] if len(shapes) > 1 else []), []]
    seen = set[str]()
    for group in groups:
        for extra in ([], codes) if codes else ([],):
            formats: list[Scalar] = [None]
            for wanted in formats:
                corner = _Corner(frozenset([*group, *extra]), wanted)
                recipe = untrained(draw(space, corner, accepts))
                formats += [value for value in corner.formats if value not in formats and value != corner.chosen]
                if recipe.key not in seen:
                    seen.add(recipe.key)
                    yield recipe


@dataclass
class _Corner:
    """Chooses the strongest of everything for some techniques, and leaves the other optional ones out."""

    kinds: frozenset[str]
    wanted: Scalar
    """The number format; None is the first that integers are computed in, else the first."""
    formats: list[Scalar] = field(default_factory=list)
    chosen: Scalar = None

    def choice(self, name: str, values: Values) -> Scalar:
        kind, _, setting = name.partition(".")
        if setting == "use":
            return kind in self.kinds
        if setting == "format":
            self.formats = list(values)
            static = next((value for value in values if str(value).startswith("static")), values[0])
            self.chosen = self.wanted if self.wanted in values else static
            return self.chosen
        end = technique(kind).stronger.get(setting)
        numbers = [value for value in values if isinstance(value, int | float)]
        if end is None or not numbers:
            return values[0]
        return max(numbers) if end == "high" else min(numbers)

    def range(self, name: str, interval: Range) -> int | float:
        kind, _, setting = name.partition(".")
        end = technique(kind).stronger.get(setting, "low")
        return interval.high if end == "high" else interval.low
