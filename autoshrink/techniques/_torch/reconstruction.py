"""Reconstruction: layers that lost inputs are fitted anew, so that they give what the original's gave."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from autoshrink.models.evaluate import outputs
from autoshrink.models.losses import distillation_loss
from autoshrink.models.splits import Split, forward
from autoshrink.techniques._torch.layers import is_plain, shared_parameters
from autoshrink.techniques._torch.norms import adapting, recalibrate
from autoshrink.techniques._torch.regression import Regression, given, rows, taken

__all__ = ["Counterpart", "reconstruct"]

_HELD = 4
"""Every so many-th example is held out while the strength of the ridge is chosen."""
_ROWS = 2**12, 2**13
_ROWS_PER_INPUT = 4
"""How many positions a layer is fitted on, where there are so many: least, most, and between them for each input."""
_CHUNK = 4096
_ACTIVATIONS = 2**25
_TARGETS = 2**27
"""Most numbers that the inputs or outputs of one layer, and what all layers shall give, may have: 128 and 512 MB."""
_SAME = 1e-10
"""Squared error, relative to the outputs, of a layer that has nothing to make up for."""


@dataclass(frozen=True)
class Counterpart:
    """What a layer stands for: a layer of the original, and those of its output channels that are left (None: all)."""

    name: str
    channels: Sequence[int] | None = None


@dataclass(frozen=True)
class _Target:
    """What a layer shall give at some of its positions.

    ``positions`` is the shape of all of them, ``index`` counts through it, ``values`` has the shape (rows, channels).
    """

    positions: torch.Size
    index: Tensor
    values: Tensor
    centered: bool = False
    """Whether a batch norm follows, which takes the mean off."""

    @property
    def held(self) -> Tensor:
        """Which rows are of examples that are held out."""
        return self.index // max(self.positions[1:].numel(), 1) % _HELD == _HELD - 1


@torch.no_grad()
def reconstruct(
    model: nn.Module, original: nn.Module, counterparts: Mapping[str, Counterpart], calibration: Split, task: str
) -> nn.Module:
    """Fit the weights of a compressed model to the original's activations, without a gradient step.

    Every linear layer and ungrouped convolution gets the weights and bias by which its output is nearest to that of its
    counterpart, by ridge regression, in the order of execution: each sees the inputs that the layers before it give
    after they were fitted, so that errors are made up for and do not add up. What is no such layer, is called more than
    once or shares its weights is left alone, and so are layers whose inputs changed in nothing. Batch norms are
    recalibrated on the way and at the end.

    Args:
        model: compressed, in eval mode; its weights are changed.
        original: what it was made from.
        counterparts: of the model's layers by name; a layer that is not named stands for all of the same name.
        calibration: the examples.
        task: the workload's.

    Returns:
        The model fitted, or a copy as it was but recalibrated where its outputs are no farther from the original's.

    References:
        He, Zhang, Sun 2017, "Channel Pruning for Accelerating Very Deep Neural Networks" (section 3.1, step ii);
        Luo, Wu, Lin 2017, "ThiNet: A Filter Level Pruning Method for Deep Neural Network Compression".
    """
    before = copy.deepcopy(model)
    recalibrate(before, calibration)
    examples = _some(original, calibration)
    if len(examples) < _HELD:
        return before
    _fit(model, _targets(original, _stand_ins(model, original, counterparts), examples), examples)
    recalibrate(model, calibration)
    wanted = outputs(original, calibration)

    def distance(candidate: nn.Module) -> float:
        answers = outputs(candidate, calibration)
        return float(distillation_loss(answers, wanted, calibration.labels, task, alpha=0.0, temperature=1.0))

    return model if distance(model) < distance(before) else before


def _stand_ins(
    model: nn.Module, original: nn.Module, counterparts: Mapping[str, Counterpart]
) -> dict[str, tuple[str, Tensor]]:
    # Layer of the original → the layer of the model that stands for it, and which of its channels that one gives.
    shared = shared_parameters(model)
    found = {}
    for name, module in model.named_modules():
        counterpart = counterparts.get(name, Counterpart(name))
        if not is_plain(module) or any(id(parameter) in shared for parameter in module.parameters()):
            continue
        try:
            width = len(original.get_submodule(counterpart.name).get_parameter("weight"))
        except AttributeError:
            continue  # no such layer in the original
        channels = torch.arange(width)
        if counterpart.channels is not None:
            channels = channels[list(counterpart.channels)]
        if len(channels) == len(module.get_parameter("weight")):
            found[counterpart.name] = name, channels
    return found


def _some(original: nn.Module, calibration: Split) -> Split:
    # All examples run at once: as many as the widest layer leaves memory for.
    widest = 1

    def measure(module: nn.Module, inputs: Any, result: Any) -> None:
        nonlocal widest
        widest = max([widest, *(item.numel() for item in (*inputs, result) if isinstance(item, Tensor))])

    with _hooked(module.register_forward_hook(measure) for module in original.modules()):
        forward(original, calibration.rows(slice(0, 1)))
    count = _ACTIVATIONS // widest
    if len(calibration) <= count:
        return calibration
    return calibration.rows(torch.randperm(len(calibration), generator=_generator())[:count].sort().values)


def _targets(original: nn.Module, stand_ins: Mapping[str, tuple[str, Tensor]], examples: Split) -> dict[str, _Target]:
    found: dict[str, _Target] = {}
    calls: Counter[str] = Counter()
    generator = _generator()
    last: tuple[str, Any] = "", None

    def record(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        stand_in, channels = stand_ins[name]

        def hook(module: nn.Module, inputs: Any, result: Tensor) -> None:
            nonlocal last
            calls[stand_in] += 1
            view = given(module, result)
            weight = module.get_parameter("weight")
            batched = view.dim() > 1 if isinstance(module, nn.Linear) else view.dim() == weight.dim()
            if calls[stand_in] > 1 or not batched:
                return
            most = min(max(_ROWS[0], _ROWS_PER_INPUT * weight[0].numel()), _ROWS[1])
            most = min(most, _TARGETS // (len(stand_ins) * len(channels)))
            index = _sample(view.shape[:-1].numel(), most, generator)
            values = rows(view, index, view.dim() - 1)[:, channels]
            found[stand_in] = _Target(view.shape[:-1], index, values)
            last = stand_in, result

        return hook

    def follow(module: nn.Module, inputs: Any) -> None:
        # The norm takes the mean off: a layer before it need not give the right one.
        if inputs and inputs[0] is last[1]:
            found[last[0]] = replace(found[last[0]], centered=True)

    norms = [module for module in original.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    layers = [(name, original.get_submodule(name)) for name in stand_ins]
    with _hooked(
        chain(
            (layer.register_forward_hook(record(name)) for name, layer in layers if is_plain(layer)),
            (norm.register_forward_pre_hook(follow) for norm in norms),
        )
    ):
        forward(original, examples)
    return {name: target for name, target in found.items() if calls[name] == 1}


def _fit(model: nn.Module, targets: Mapping[str, _Target], examples: Split) -> None:
    def refit(target: _Target) -> Callable[[nn.Module, Any], None]:
        def hook(module: nn.Module, inputs: Any) -> None:
            if inputs:
                _refit(module, inputs[0], target)

        return hook

    with (
        adapting(model),
        _hooked(model.get_submodule(name).register_forward_pre_hook(refit(target)) for name, target in targets.items()),
    ):
        forward(model, examples)


def _refit(module: Any, inputs: Tensor, target: _Target) -> None:
    view, dimensions = taken(module, inputs), len(target.positions)
    if view.shape[:dimensions] != target.positions:
        return  # it works on other positions than the original's: nothing to compare
    weight = module.weight.movedim(1, -1).flatten(1)  # as the view has it
    wanted = target.values if module.bias is None else target.values - module.bias
    regression = Regression(weight.shape[1], len(weight), target.centered or module.bias is not None)
    error = 0.0
    for held in (False, True):
        for chunk in torch.split((target.held == held).nonzero().squeeze(1), _CHUNK):
            x = rows(view, target.index[chunk], dimensions)
            missing = wanted[chunk] - x @ weight.T
            error += float(missing.square().sum())
            regression.add(x, missing, held=held)
    change = regression.solve() if error > _SAME * float(target.values.square().sum()) else None
    if change is not None:
        shape = (len(weight), *module.weight.shape[2:], module.weight.shape[1])
        module.weight += change[: weight.shape[1]].T.reshape(shape).movedim(-1, 1)
        if module.bias is not None:
            module.bias += change[-1]


def _sample(total: int, most: int, generator: torch.Generator) -> Tensor:
    if total <= most:
        return torch.arange(total)
    return torch.randint(total, (most,), generator=generator).sort().values


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@contextmanager
def _hooked(handles: Iterable[RemovableHandle]) -> Iterator[None]:
    registered = list(handles)
    try:
        yield
    finally:
        for handle in registered:
            handle.remove()
