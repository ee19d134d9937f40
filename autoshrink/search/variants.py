"""Recipes beside one that was drawn: what was drawn, again, and the same in other number formats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from autoshrink.core import Range, Recipe, Space
from autoshrink.core.recipe import Scalar
from autoshrink.core.space import Values
from autoshrink.search.presets import Preset
from autoshrink.techniques.base import Accepts, Stage
from autoshrink.techniques.registry import draw, technique

__all__ = ["Recall", "in_other_formats"]


class Recall:
    """A chooser that picks what was picked before; what was not asked for then is chosen as a preset would."""

    def __init__(self, params: Mapping[str, Scalar]) -> None:
        self._params = params
        self._preset = Preset({})
        self.offered: dict[str, Values] = {}
        """The values of every choice that was asked for."""

    @property
    def chosen(self) -> dict[str, Scalar]:
        """What was picked, by parameter."""
        return self._preset.chosen

    def choice(self, name: str, values: Values) -> Scalar:
        """Pick the value of before, if it is still there, else the first."""
        self.offered[name] = values
        if name in self._params and self._params[name] in values:
            self.chosen[name] = self._params[name]
            return self.chosen[name]
        return self._preset.choice(name, values)

    def range(self, name: str, interval: Range) -> int | float:
        """Pick the number of before, if it is still inside, else the middle."""
        before = self._params.get(name)
        if isinstance(before, int | float) and interval.low <= before <= interval.high:
            self.chosen[name] = before
            return before
        return self._preset.range(name, interval)


def in_other_formats(
    space: Space, accepts: Accepts, params: Mapping[str, Scalar]
) -> Iterator[tuple[Recipe, dict[str, Scalar]]]:
    """Give the recipes that equal a drawn one but for the format of its encoding, with their parameters.

    The other settings of the encoding are at their first value, or in the middle of their range.
    """
    encodings = tuple(f"{kind}." for kind in space.kinds() if technique(kind).stage is Stage.ENCODING)
    kept = {name: value for name, value in params.items() if not name.startswith(encodings)} if encodings else params
    probe = Recall(kept)
    draw(space, probe, accepts)
    for name in [f"{encoding}format" for encoding in encodings]:
        for value in probe.offered.get(name, ()):
            if value != params.get(name):
                other = Recall({**kept, name: value})
                yield draw(space, other, accepts), other.chosen
