"""Known-good recipes of any space, tried before the sampler has learned anything."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from autoshrink.core import Range
from autoshrink.core.recipe import Scalar
from autoshrink.core.space import Values

__all__ = ["PRESETS", "Preset"]


@dataclass
class Preset:
    """A chooser with opinions: it remembers what it was asked, so that the sampler can be told the same."""

    wishes: Mapping[str, Sequence[Scalar] | float]
    """By parameter: preferred values in order, or for a range the position between its ends, 0 to 1."""
    chosen: dict[str, Scalar] = field(default_factory=dict)

    def choice(self, name: str, values: Values) -> Scalar:
        """Pick the first preferred value that is there, else leave optional techniques out, else the first value."""
        wish = self.wishes.get(name, ())
        wanted = wish if isinstance(wish, Sequence) else ()
        self.chosen[name] = next((value for value in wanted if value in values), values[0])
        return self.chosen[name]

    def range(self, name: str, interval: Range) -> int | float:
        """Pick a position of the interval, the middle by default."""
        wish = self.wishes.get(name, 0.5)
        position = wish if isinstance(wish, float) else 0.5
        low, high = float(interval.low), float(interval.high)
        value = low * (high / low) ** position if interval.log else low + position * (high - low)
        if interval.step is not None:
            value = low + math.floor((value - low) / interval.step + 0.5) * interval.step
        drawn = round(value) if interval.whole else value
        self.chosen[name] = min(max(drawn, interval.low), interval.high)
        return min(max(drawn, interval.low), interval.high)


_STATIC: dict[str, Sequence[Scalar] | float] = {
    "quantization.format": ("static int8", "dynamic int8", "weight_only int8"),
    "quantization.calibration": ("minmax",),
}


_RECOVERED: dict[str, Sequence[Scalar] | float] = {"distillation.use": (True,), **_STATIC}


def _pruned(position: float) -> dict[str, Sequence[Scalar] | float]:
    return {
        "channel_pruning.use": (True,),
        "channel_pruning.ratio": position,
        "channel_pruning.criterion": ("l2", "l1"),
        **_RECOVERED,
    }


PRESETS: tuple[Mapping[str, Sequence[Scalar] | float], ...] = (
    _STATIC,
    _pruned(1.0),
    _pruned(0.5),
    _pruned(0.15),
    _pruned(0.75),
    {**_pruned(0.5), "channel_pruning.scope": ("layer",)},
    {"weight_sharing.use": (True,), **_pruned(0.5)},
    {"low_rank.use": (True,), **_RECOVERED},
    {"weight_sharing.use": (True,), "distillation.use": (True,), "quantization.format": ("float32",)},
    {"magnitude_pruning.use": (True,), **_RECOVERED},
)
"""Quantization alone, with four strengths of pruning, and one taste of each other technique.

From where these end, `autoshrink.search.strength` goes on to the strength at which the accuracy reaches the floor.
"""
