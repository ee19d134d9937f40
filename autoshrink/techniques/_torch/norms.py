"""Batch norms: what has to follow when the weights before them are changed without training."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

from autoshrink.models.splits import Split, forward
from autoshrink.techniques._torch.layers import outputs, shared_parameters

__all__ = ["adapting", "fold", "recalibrate"]

_BATCH = 64
_TOLERANCE = 1e-3
_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


@torch.no_grad()
def recalibrate(model: nn.Module, calibration: Split) -> None:
    """Estimate the running statistics of batch norms again, for the activations that the changed weights give.

    References:
        Li et al. 2020, "EagleEye: Fast Sub-net Evaluation for Efficient Neural Network Pruning", adaptive batch norm.
    """
    if not _norms(model) or len(calibration) < 2:
        return
    with adapting(model):
        for batch in calibration.batches(_BATCH):
            if len(batch) > 1:  # one example has no variance
                forward(model, batch)


@contextmanager
def adapting(model: nn.Module) -> Iterator[None]:
    """Let batch norms normalize by, and take over, the plain average of the statistics of the batches that pass."""
    norms = _norms(model)
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()


def _norms(model: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    return [
        module
        for module in model.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
    ]


def fold(model: nn.Module, example: Split) -> nn.Module:
    """Fold batch norms into the linear layers and convolutions before them, as runtimes do when they load a model.

    What limits the values of weights has to work on the weights that are stored.

    Args:
        model: in eval mode, without parametrizations; its modules are changed.
        example: one example, which shows what follows what.

    Returns:
        The model, or a copy as it was where folding would change the outputs.
    """
    pairs = _pairs(model, example)
    if not pairs:
        return model
    before = copy.deepcopy(model)
    for layer, norm in pairs:
        fuse = fuse_linear_bn_weights if isinstance(model.get_submodule(layer), nn.Linear) else fuse_conv_bn_weights
        _fold_pair(model, layer, norm, fuse)
    with torch.no_grad():
        same = all(
            torch.allclose(after, wanted, rtol=_TOLERANCE, atol=_TOLERANCE * float(wanted.abs().max()))
            for after, wanted in zip(outputs(model, example), outputs(before, example), strict=True)
        )
    # A layer whose output is used beside its norm can't be told from the others, and is rare.
    return model if same else before


def _pairs(model: nn.Module, example: Split) -> list[tuple[str, str]]:
    shared = shared_parameters(model)
    producers: dict[int, str] = {}
    kept: list[Tensor] = []  # so that no address is used twice
    pairs: list[tuple[str, str]] = []
    calls: dict[str, int] = {}

    def produced(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, result: Tensor) -> None:
            producers[id(result)] = name
            kept.append(result)
            calls[name] = calls.get(name, 0) + 1

        return hook

    def taken(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, result: Tensor) -> None:
            calls[name] = calls.get(name, 0) + 1
            if id(inputs[0]) in producers:
                pairs.append((producers[id(inputs[0])], name))

        return hook

    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, _LAYERS) and id(module.weight) not in shared:
            hooks.append(module.register_forward_hook(produced(name)))
        elif isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            hooks.append(module.register_forward_hook(taken(name)))
    try:
        with torch.no_grad():
            forward(model, example)
    finally:
        for hook in hooks:
            hook.remove()
    return [pair for pair in pairs if all(calls[name] == 1 for name in pair)]


def _fold_pair(model: nn.Module, layer_name: str, norm_name: str, fuse: Any) -> None:
    layer: Any = model.get_submodule(layer_name)
    norm: Any = model.get_submodule(norm_name)
    scale = norm.weight if norm.weight is not None else torch.ones_like(norm.running_var)
    shift = norm.bias if norm.bias is not None else torch.zeros_like(norm.running_mean)
    layer.weight, layer.bias = fuse(
        layer.weight, layer.bias, norm.running_mean, norm.running_var, norm.eps, scale, shift
    )
    parent, _, child = norm_name.rpartition(".")
    setattr(model.get_submodule(parent), child, nn.Identity())
