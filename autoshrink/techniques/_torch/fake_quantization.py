"""Fake quantization: rounds weights and activations in torch as an int8 runtime does, so that training can adapt."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils.hooks import RemovableHandle

from autoshrink.models.splits import Split, forward
from autoshrink.techniques._torch import masks
from autoshrink.techniques._torch.codebooks import Codebook
from autoshrink.techniques._torch.layers import bake, weights
from autoshrink.techniques._torch.norms import fold

__all__ = ["InputRange", "fold_norms", "has_codebooks", "observed", "round_weights", "simulated"]

Span = tuple[float, float]

_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
_LEVELS = 255
_PACE = 0.02
_BATCH = 64
_SMALLEST = torch.finfo(torch.float32).tiny


class RoundedWeight(nn.Module):
    """A parametrization: the weight on its integer grid, symmetric, per output channel or per tensor."""

    def __init__(self, per_channel: bool, bits: int) -> None:
        super().__init__()
        self.per_channel = per_channel
        self.top = 2 ** (bits - 1) - 1

    def forward(self, weight: Tensor) -> Tensor:
        """Round; the gradient passes as if nothing had been rounded."""
        largest = weight.detach().abs()
        if not self.per_channel:
            scale = (largest.amax() / self.top).clamp_min(_SMALLEST)
            return torch.fake_quantize_per_tensor_affine(weight, scale, _zeros(scale), -self.top, self.top)
        scale = (largest.flatten(1).amax(1) / self.top).clamp_min(_SMALLEST)
        return torch.fake_quantize_per_channel_affine(weight, scale, _zeros(scale), 0, -self.top, self.top)


def has_codebooks(model: nn.Module) -> bool:
    """Whether weights of a model share few values, which weight sharing may still be moving."""
    return any(isinstance(module, Codebook) for module in model.modules())


def fold_norms(model: nn.Module, example: Split) -> nn.Module:
    """Fold batch norms into the weights that will be rounded; pruned weights stay zero, and codebooks as they are."""
    if has_codebooks(model):
        return model  # folded when the codebooks were made
    pruned = {
        (weight.name, weight.attribute): weight.tensor != 0
        for weight in weights(model)
        if any(isinstance(item, masks.Mask) for item in weight.module.modules())
    }
    model = fold(bake(model), example)
    for weight in weights(model):
        kept = pruned.get((weight.name, weight.attribute))
        if kept is not None:
            masks.attach(weight, kept)
    return model


def round_weights(model: nn.Module, per_channel: bool, bits: int = 8, kept: Collection[str] = ()) -> int:
    """Put the weights of convolutions, linear layers and attention on integer grids, and count them.

    Those of the modules that are kept have 8 bits beside 4, and stay as they are beside 8.
    """
    found = [weight for weight in weights(model) if _is_executed(weight.module)]
    for weight in found:
        if weight.name not in kept or bits < 8:
            rounding = RoundedWeight(per_channel, 8 if weight.name in kept else bits)
            parametrize.register_parametrization(weight.module, weight.attribute, rounding)
    return len(found)


class InputRange:
    """The range of one layer's input, and the rounding to uint8 in it.

    While the model trains, the range follows each batch's extremes slowly; else it stays.
    """

    def __init__(self) -> None:
        self.low = self.high = 0.0
        self.rounding = False
        self.seen = False

    def __call__(self, module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Observe the input of a layer, and round it; a forward pre-hook."""
        tensor = arguments[0]
        if module.training or not self.rounding:
            self._observe(tensor.detach())
        return (round_input(tensor, (self.low, self.high)), *arguments[1:]) if self.rounding else None

    @property
    def span(self) -> Span:
        """Lowest and highest value."""
        return self.low, self.high

    def _observe(self, tensor: Tensor) -> None:
        low, high = (float(value) for value in torch.aminmax(tensor))
        if self.rounding:
            self.low += _PACE * (low - self.low)
            self.high += _PACE * (high - self.high)
        else:
            self.low, self.high = (min(self.low, low), max(self.high, high)) if self.seen else (low, high)
            self.seen = True


def round_input(tensor: Tensor, span: Span) -> Tensor:
    """Round to uint8 in a range, which is widened to hold zero, as the runtime's quantization does."""
    low, high = min(span[0], 0.0), max(span[1], 0.0)
    scale = (high - low) / _LEVELS if high > low else 1.0
    zero = max(0, min(_LEVELS, round(-low / scale)))
    return torch.fake_quantize_per_tensor_affine(tensor, scale, zero, 0, _LEVELS)


@contextmanager
def observed(model: nn.Module, calibration: Split, without: Collection[str] = ()) -> Iterator[dict[str, InputRange]]:
    """Round the inputs of layers, but those named, from ranges that calibration starts and training moves.

    Gives the ranges by module name, of those layers only that are called; the rounding ends with the context.
    """
    ranges: dict[str, InputRange] = {}
    handles: list[RemovableHandle] = []
    for name, module in model.named_modules():
        if isinstance(module, _LAYERS) and name not in without:
            ranges[name] = InputRange()
            handles.append(module.register_forward_pre_hook(ranges[name]))
    try:
        with torch.no_grad():
            for batch in calibration.batches(_BATCH):
                forward(model, batch)
        for name in [name for name, item in ranges.items() if not item.seen]:
            del ranges[name]
        for item in ranges.values():
            item.rounding = True
        yield ranges
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def simulated(model: nn.Module, ranges: dict[str, Span]) -> Iterator[nn.Module]:
    """Round the inputs of the named layers in fixed ranges: the model then gives nearly what the artifact will."""

    def hook_for(span: Span) -> Any:
        return lambda module, arguments: (round_input(arguments[0], span), *arguments[1:])

    handles = [model.get_submodule(name).register_forward_pre_hook(hook_for(span)) for name, span in ranges.items()]
    try:
        yield model
    finally:
        for handle in handles:
            handle.remove()


def _is_executed(module: nn.Module) -> bool:
    return isinstance(module, (*_LAYERS, nn.MultiheadAttention))


def _zeros(scale: Tensor) -> Tensor:
    return torch.zeros_like(scale, dtype=torch.int32)
