"""Reconstruction: the weights that remain are fitted anew, so that layers give what the original's gave."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autoshrink.models.splits import Split
from autoshrink.techniques._torch.layers import is_plain, outputs, shared_parameters
from autoshrink.techniques._torch.regression import Regression, given, rows, taken

__all__ = ["reconstruct"]

ROWS = int(os.environ.get("ROWS", 8192))
BN = os.environ.get("BN", "fly")
LOG = os.environ.get("LOG")
_SAME = 1e-10


@dataclass
class _Target:
    index: Tensor
    values: Tensor
    calls: int = 1
    normed: bool = False


@torch.no_grad()
def reconstruct(model: nn.Module, original: nn.Module, kept: Mapping[str, Tensor], calibration: Split) -> None:
    targets = _targets(original, kept, calibration)
    shared = shared_parameters(model)
    hooks = []

    def fit(name: str, target: _Target) -> Callable[[Any, Any, Tensor], Tensor | None]:
        def hook(module: Any, inputs: Any, result: Tensor) -> Tensor | None:
            view = given(module, result)
            wrong = target.values - rows(view, target.index, view.dim() - 1)
            if float(wrong.square().sum()) < _SAME * float(target.values.square().sum()):
                return None
            constant = module.bias is not None or target.normed
            patches = taken(module, inputs[0])
            lead = view.dim() - 1
            weight = module.weight
            regression = Regression(weight[0].numel(), len(weight), constant)
            per = view[..., 0].numel() // len(view)
            held = (target.index // per) % 4 == 3
            for part in (False, True):
                for ids in (held == part).nonzero().squeeze(1).split(4096):
                    regression.add(rows(patches, target.index[ids], lead), wrong[ids], part)
            change = regression.solve()
            if LOG:
                print(name, tuple(weight.shape), len(target.index), float(wrong.square().sum() / (target.values-target.values.mean(0)).square().sum()), regression.chosen)
            if change is None:
                return None
            weight += change[: weight[0].numel()].T.reshape(weight.shape)
            if module.bias is not None:
                module.bias += change[-1]
            return module.forward(*inputs)

        return hook

    def renorm(module: Any, inputs: Any) -> None:
        x = inputs[0].transpose(0, 1).flatten(1)
        module.running_mean.copy_(x.mean(1))
        module.running_var.copy_(x.var(1))

    for name, module in model.named_modules():
        if name in targets and is_plain(module) and id(module.weight) not in shared:
            hooks.append(module.register_forward_hook(fit(name, targets[name])))
        elif isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats and BN == "fly":
            hooks.append(module.register_forward_pre_hook(renorm))
    try:
        outputs(model, calibration)
    finally:
        for hook in hooks:
            hook.remove()


def _targets(original: nn.Module, kept: Mapping[str, Tensor], calibration: Split) -> dict[str, _Target]:
    targets: dict[str, _Target] = {}
    hooks = []
    generator = torch.Generator().manual_seed(0)
    last: list[Any] = ["", None]

    def record(name: str) -> Callable[[Any, Any, Tensor], None]:
        def hook(module: Any, inputs: Any, result: Tensor) -> None:
            if name in targets:
                targets[name].calls += 1
                return
            view = given(module, result)
            total = view[..., 0].numel()
            index = torch.arange(total) if total <= ROWS else torch.randperm(total, generator=generator)[:ROWS]
            targets[name] = _Target(index, rows(view, index, view.dim() - 1)[:, kept.get(name, slice(None))])
            last[:] = name, result

        return hook

    def normed(module: Any, inputs: Any) -> None:
        if inputs[0] is last[1]:
            targets[last[0]].normed = True

    for name, module in original.named_modules():
        if is_plain(module):
            hooks.append(module.register_forward_hook(record(name)))
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            hooks.append(module.register_forward_pre_hook(normed))
    try:
        outputs(original, calibration)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: target for name, target in targets.items() if target.calls == 1}
