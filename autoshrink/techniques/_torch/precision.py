"""Mixed precision: which layers are worth more bits than the others."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from autoshrink.models.splits import Split, forward
from autoshrink.models.workload import Workload
from autoshrink.techniques._torch.answers import Answers
from autoshrink.techniques._torch.fake_quantization import round_input
from autoshrink.techniques._torch.layers import Weight, bake, weights

__all__ = ["best_within", "sensitive_layers"]

Span = tuple[float, float]

_TYPES = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
_EXAMPLES = 64
_UNITS = 4096


def sensitive_layers(
    model: nn.Module, workload: Workload, share: float, rounding: Callable[[Tensor], Tensor], *, inputs: bool
) -> tuple[str, ...]:
    """Choose the layers whose rounding moves the model's answers most, for their size.

    A layer's value is how far the answers move when it is rounded first, alone, and how much nearer they come when it
    is restored last, while all others are rounded: the mean of both, the ends of the order that a Shapley value
    averages over. Errors don't simply add up: by the first alone, the choice was up to 1.5 times worse on a DS-CNN, by
    the second up to three times on a ResNet-8.
    What several layers bring together is taken for the sum, and the choice is a knapsack.

    Args:
        model: what is going to be encoded, compressed already; it stays as it is.
        workload: gives calibration examples.
        share: most of the model's weights that may be in the chosen layers.
        rounding: gives a weight as it will be.
        inputs: whether the layers' inputs are rounded to 8 bits as well, where the layer is not chosen.

    Returns:
        Names of convolutions and linear layers that are called once as modules.
    """
    model = bake(copy.deepcopy(model)).eval()
    rows = torch.linspace(0, len(workload.calibration) - 1, min(_EXAMPLES, len(workload.calibration))).long()
    examples = workload.calibration.rows(rows)
    spans = _input_spans(model, examples)
    found = weights(model)
    answers = Answers(model, examples, workload.task, norms=False)
    total = sum(weight.tensor.numel() for weight in found)
    layers = [_Layer(weight, rounding(weight.tensor), spans.get(weight.name) if inputs else None) for weight in found]
    candidates = [layer for layer in layers if layer.weight.name in spans]
    alone = []
    for layer in candidates:
        layer.round()
        alone.append(answers.distance(model))
        layer.restore()
    for layer in layers:
        layer.round()
    rounded = answers.distance(model)
    values = []
    for layer, first in zip(candidates, alone, strict=True):
        layer.restore()
        values.append((first + max(rounded - answers.distance(model), 0.0)) / 2)
        layer.round()
    chosen = best_within(values, [layer.weight.tensor.numel() for layer in candidates], share * total)
    return tuple(candidates[index].weight.name for index in chosen)


class _Layer:
    """A layer that is rounded and restored."""

    def __init__(self, weight: Weight, rounded: Tensor, span: Span | None) -> None:
        self.weight = weight
        self._original, self._rounded = weight.tensor.clone(), rounded
        self._span = span
        self._handle: RemovableHandle | None = None

    def round(self) -> None:
        """Put the weight on its grid, and the input on that of its range."""
        self._put(self._rounded)
        if self._span is not None:
            self._handle = self.weight.module.register_forward_pre_hook(_rounds(self._span))

    def restore(self) -> None:
        """Undo it."""
        self._put(self._original)
        if self._handle is not None:
            self._handle.remove()

    @torch.no_grad()
    def _put(self, value: Tensor) -> None:
        self.weight.module.get_parameter(self.weight.attribute).copy_(value)


def best_within(values: Sequence[float], costs: Sequence[float], capacity: float) -> list[int]:
    """Choose the items of the highest total value whose total cost stays within a capacity.

    By dynamic programming over 4096 steps of the capacity, to which costs are rounded up. The items are few and their
    costs differ a thousandfold, so that the greedy choice by value per cost may leave half of the capacity unused.
    """
    steps = [int(np.ceil(cost / capacity * _UNITS - 1e-9)) if cost <= capacity else _UNITS + 1 for cost in costs]
    best = np.zeros(_UNITS + 1)
    taken = np.zeros((len(values), _UNITS + 1), bool)
    for index, (value, step) in enumerate(zip(values, steps, strict=True)):
        if step > _UNITS or value <= 0:
            continue
        with_it = np.full(_UNITS + 1, -np.inf)
        with_it[step:] = best[: _UNITS + 1 - step] + value
        taken[index] = with_it > best
        best = np.maximum(best, with_it)
    room, chosen = _UNITS, []
    for index in reversed(range(len(values))):
        if taken[index, room]:
            chosen.append(index)
            room -= steps[index]
    return chosen[::-1]


def _input_spans(model: nn.Module, examples: Split) -> dict[str, Span]:
    """Find the range of the input of every layer that is called exactly once."""
    spans: dict[str, Span] = {}
    calls: Counter[str] = Counter()

    def hook_for(name: str) -> Any:
        def hook(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            low, high = torch.aminmax(arguments[0].detach())
            spans[name] = float(low), float(high)
            calls[name] += 1

        return hook

    handles = [m.register_forward_pre_hook(hook_for(n)) for n, m in model.named_modules() if isinstance(m, _TYPES)]
    try:
        with torch.enable_grad():  # attention's fused kernel skips the modules without
            forward(model, examples)
    finally:
        for handle in handles:
            handle.remove()
    return {name: span for name, span in spans.items() if calls[name] == 1}


def _rounds(span: Span) -> Any:
    return lambda _, arguments: (round_input(arguments[0], span), *arguments[1:])
