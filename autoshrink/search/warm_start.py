"""Recipes to try first that fit one model: as strong as its sensitivity table says that it bears."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from autoshrink.core import Range, Sensitivity, Space, Step
from autoshrink.core.recipe import Scalar
from autoshrink.core.sensitivity import Compressing
from autoshrink.techniques.base import Stage
from autoshrink.techniques.registry import technique

__all__ = ["Wishes", "presets_from"]

Wishes = Mapping[str, Sequence[Scalar] | float]
"""As `autoshrink.search.presets.Preset` takes them."""

_RECOVERED = (0.4, 1.0, 2.5, 0.1, 5.0)
_UNTRAINED = (0.02, 0.003, 0.1)
"""Levels of the predicted loss, in nats, in the order of trying. A recovery makes up for most of it, so that recipes
are worth a try which would be hopeless without: on Fashion-MNIST one epoch brings 0.6 nats back to two points below the
original, on digits six bring 2.5 back to the original."""
_NEAR = 0.03
_INT8 = ("static int8", "weight_only int8", "dynamic int8")
_INT4 = ("static int4", "weight_only int4")


def presets_from(table: Sensitivity, space: Space) -> tuple[Wishes, ...]:
    """Choose recipes from what each layer bears alone.

    Pruning and low rank are tried at the strengths at which the predicted loss of the whole model, the sum over its
    layers, reaches a few levels, in 8 bits and in 4 with the most sensitive layers kept higher. These stand beside
    `autoshrink.search.presets.PRESETS`, which have a taste of every technique and know nothing of the model.

    Args:
        table: of the model; of a regression, whose squared errors have no common scale, no strengths are read.
        space: what may be drawn.

    Returns:
        Wishes, the most promising first; only those that differ and that the space has a technique for.
    """
    steps = {step.kind: step for step in space.steps}
    trained = [step.kind for step in space.steps if technique(step.kind).stage is Stage.RECOVERY]
    levels = _RECOVERED if trained else _UNTRAINED
    recovered = {f"{kind}.use": (True,) for kind in trained}
    eight, four = _formats(steps.get("quantization"))
    pruned = _strengths(table, steps.get("channel_pruning"), "ratio", "channel_pruning", levels)
    ranked = _strengths(table, steps.get("low_rank"), "rank_ratio", "low_rank", levels[:2])
    found: list[Wishes] = [eight] if eight else []
    if four:
        found.append({**recovered, **four})
    for number, strength in enumerate(pruned):
        found.append({**strength, **recovered, **eight})
        if four and number < 2:
            found.append({**strength, **recovered, **four})
    found += [{**strength, **recovered, **eight} for strength in ranked]
    return tuple(found)


def _strengths(
    table: Sensitivity, step: Step | None, name: str, kind: Compressing, levels: Sequence[float]
) -> list[dict[str, Sequence[Scalar] | float]]:
    param = step.params.get(name) if step is not None else None
    if not isinstance(param, Range) or table.measure != "kl_divergence":
        return []
    low, high = float(param.low), float(param.high)
    positions: list[float] = []
    for level in levels:
        value = table.reach(kind, level, low, high)
        if value is None:
            return []
        position = math.log(value / low) / math.log(high / low) if param.log else (value - low) / (high - low)
        if all(abs(position - other) > _NEAR for other in positions):
            positions.append(min(max(position, 0.0), 1.0))
    criterion: dict[str, Sequence[Scalar] | float] = {f"{kind}.criterion": ("l2", "l1")}  # as the table's
    return [{f"{kind}.use": (True,), f"{kind}.{name}": position, **criterion} for position in positions]


def _formats(
    step: Step | None,
) -> tuple[dict[str, Sequence[Scalar] | float], dict[str, Sequence[Scalar] | float]]:
    """Give the wishes for 8 and for 4 bits, each empty where the space has no such weights."""
    if step is None:
        return {}, {}
    fields = technique(step.kind).model_fields
    bits = step.values("weight_bits") or (fields["weight_bits"].default,)
    shares = sorted(share for share in step.values("sensitive_share") if isinstance(share, float) and share > 0)
    kept: dict[str, Sequence[Scalar] | float] = {"quantization.sensitive_share": tuple(shares)} if shares else {}
    usual: dict[str, Sequence[Scalar] | float] = {"quantization.calibration": ("minmax",)}
    eight = {"quantization.format": _INT8, **usual} if 8 in bits else {}
    return eight, {"quantization.format": (*_INT4, *_INT8), **usual, **kept} if 4 in bits else {}
