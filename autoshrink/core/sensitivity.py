"""How much each layer of a model bears: the harm of every way to compress it, one at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from autoshrink.core.documents import Frozen

__all__ = ["Compressing", "LayerSensitivity", "Option", "Sensitivity", "Sharing"]

Compressing = Literal["channel_pruning", "low_rank", "quantization"]
Sharing = Literal["per_channel", "per_block"]
_Harm = Annotated[float, Field(ge=0)]


class Option(Frozen):
    """One way to compress one layer, and what it alone does to the model's answers, before any training."""

    kind: Compressing
    value: float
    """The share of channels that is removed, the share of the rank that is kept, or the bits of a weight."""
    granularity: Sharing | None = None
    """What shares a scale, in a quantization."""
    loss: _Harm
    """How far the answers move away from the original's."""

    @property
    def strength(self) -> float:
        """How much is taken away: what grows while the model shrinks."""
        return self.value if self.kind == "channel_pruning" else -self.value


class LayerSensitivity(Frozen):
    """A convolution, linear layer or attention projection, what it costs, and what it bears."""

    name: str
    """Of the module."""
    type: str
    weights: int
    macs: float
    """Multiply-accumulates of one example."""
    group: str = ""
    """The layer that its output channels are known by; layers of one group lose channels together, and have the same
    options of channel pruning. Empty where no channel can be removed."""
    options: tuple[Option, ...] = ()

    @property
    def bytes(self) -> int:
        """What the weights take in 32 bits."""
        return 4 * self.weights

    def choose(self, kind: Compressing, granularity: Sharing | None = None) -> tuple[Option, ...]:
        """List the options of one kind, the mildest first."""
        found = (item for item in self.options if item.kind == kind and item.granularity == granularity)
        return tuple(sorted(found, key=lambda item: item.strength))


class Sensitivity(Frozen):
    """The table of a model: layers × options.

    Every loss was measured: the layer was compressed alone, norms were estimated again where the technique does so, and
    the answers were compared with the original's on calibration examples. For classes it is their divergence in nats,
    KL(original ‖ compressed), for a regression the mean squared error; it needs no labels, is zero for the original,
    and is not yet lowered by any training.
    """

    workload: str
    """The workload's key."""
    seed: int = 0
    measure: Literal["kl_divergence", "squared_error"] = "kl_divergence"
    base_loss: float
    """The original's own loss on the same examples, against their labels, for comparison."""
    examples: int
    """How many were used."""
    seconds: float
    layers: tuple[LayerSensitivity, ...]

    def increase(self, kind: Compressing, value: float, granularity: Sharing | None = None) -> float:
        """Predict the loss of one strength everywhere: the sum over layers, each group of coupled channels once.

        Between two options the loss is interpolated, beyond them it is that of the nearest; a layer without options of
        this kind stays as it is.
        """
        strength = value if kind == "channel_pruning" else -value
        return sum(_at(options, strength) for options in self._independent(kind, granularity))

    def reach(self, kind: Compressing, loss: float, low: float, high: float) -> float | None:
        """Find the value between two others at which the predicted loss of `increase` reaches a level.

        Returns:
            The value, the nearer end where the level is not crossed, or None where no layer has such an option.
        """
        if not any(True for _ in self._independent(kind, None)):
            return None
        mild, strong = (low, high) if kind == "channel_pruning" else (high, low)
        for _ in range(40):
            middle = (mild + strong) / 2
            if self.increase(kind, middle) < loss:
                mild = middle
            else:
                strong = middle
        return (mild + strong) / 2

    def _independent(self, kind: Compressing, granularity: Sharing | None) -> Iterator[tuple[Option, ...]]:
        seen = set()
        for layer in self.layers:
            options = layer.choose(kind, granularity)
            owner = layer.group if kind == "channel_pruning" else layer.name
            if options and owner not in seen:
                seen.add(owner)
                yield options


def _at(options: tuple[Option, ...], strength: float) -> float:
    # Losses that fall with the strength are noise of few examples: the curve is made monotone.
    losses = list(itertools.accumulate((item.loss for item in options), max))
    if options[0].kind == "quantization":
        return next(loss for item, loss in zip(options, losses, strict=True) if item.strength >= strength)
    points = [(item.strength, loss) for item, loss in zip(options, losses, strict=True)]
    untouched = 0.0 if options[0].kind == "channel_pruning" else -1.0
    if points[0][0] > untouched:
        points.insert(0, (untouched, 0.0))
    for (before, low), (after, high) in itertools.pairwise(points):
        if strength <= after:
            return low + (high - low) * max(0.0, (strength - before) / (after - before))
    return points[-1][1]
