"""Low-rank factors of linear layers and convolutions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from autoshrink.models.splits import Split
from autoshrink.techniques._torch.layers import is_plain, outputs, shared_parameters

__all__ = ["Layer", "LowRankLinear", "RankRule", "called_layers", "factorize", "replace"]

Convolution: TypeAlias = nn.Conv1d | nn.Conv2d | nn.Conv3d
RankRule: TypeAlias = Callable[[Tensor], int]
"""Gives the rank that is kept, knowing the singular values in descending order."""
_MINOR = 0.1
"""Share of the model's parameters."""
_THIN = 32


class LowRankLinear(nn.Sequential):
    """Two linear layers in the place of one; ``weight`` is their product, for modules that look into their parts."""

    @property
    def weight(self) -> Tensor:
        """The weight of the one layer, shape (outputs, inputs)."""
        parts: Any = self
        product: Tensor = parts[1].weight @ parts[0].weight
        return product

    @property
    def bias(self) -> Tensor | None:
        """The bias of the one layer, shape (outputs,)."""
        parts: Any = self
        bias: Tensor | None = parts[1].bias
        return bias


@dataclass(frozen=True)
class Layer:
    """A layer that the model calls, and how many positions its inputs and outputs have for one example."""

    name: str
    module: nn.Linear | Convolution
    positions_in: int
    positions_out: int


def called_layers(model: nn.Module, example: Split) -> list[Layer]:
    """List the linear layers and ungrouped convolutions that may be replaced by others.

    Left out is what is not called as a module, such as the projections of attention; weights that several layers
    share; and small layers at thin ends of the model, where the first has fewer inputs than outputs or the last fewer
    outputs than inputs. Little is saved there, and a lower rank blinds the model to some inputs or ties some classes to
    others: a CNN for ten digits recovered to 44 % with its classifier at rank 2, and to 99 % without touching it.
    """
    shared = shared_parameters(model)
    ends = {tensor.data_ptr() for tensor in example.inputs}
    found: dict[str, Layer] = {}
    taken: dict[str, Tensor] = {}
    given: dict[str, Tensor] = {}

    def record(name: str) -> Callable[[Any, Any, Tensor], None]:
        def hook(module: Any, inputs: Any, result: Tensor) -> None:
            spatial = not isinstance(module, nn.Linear)
            found[name] = Layer(name, module, _positions(inputs[0], spatial), _positions(result, spatial))
            taken[name], given[name] = inputs[0], result

        return hook

    hooks = [
        module.register_forward_hook(record(name))
        for name, module in model.named_modules()
        if is_plain(module) and id(module.weight) not in shared
    ]
    try:
        # With gradients, since attention's fused kernel skips the modules without them.
        with torch.enable_grad():
            results = outputs(model, example)
    finally:
        for hook in hooks:
            hook.remove()
    ends |= {tensor.data_ptr() for tensor in results}

    minor = _MINOR * sum(parameter.numel() for parameter in model.parameters())

    def is_thin_end(name: str) -> bool:
        weight = found[name].module.weight
        wide_out, wide_in = weight.shape[:2]
        thin = taken[name] if wide_in < wide_out else given[name]
        small = weight.numel() < minor or min(wide_in, wide_out) <= _THIN
        return wide_in != wide_out and thin.data_ptr() in ends and small

    return [layer for name, layer in found.items() if not is_thin_end(name)]


def factorize(layer: Layer, decomposition: Literal["tucker", "svd"], rank_of: RankRule) -> nn.Sequential | None:
    """Factorize a layer.

    Args:
        layer: a linear layer or an ungrouped convolution.
        decomposition: of convolutions: ``tucker`` (1×1, spatial, 1×1) or ``svd`` (spatial, 1×1).
        rank_of: chooses each rank.

    Returns:
        Layers in sequence, with the bias in the last; None where they need no fewer weights and multiplications.
    """
    module = layer.module
    if isinstance(module, nn.Linear):
        factors: nn.Sequential = _linear(module, rank_of)
    elif decomposition == "tucker" and math.prod(module.kernel_size) > 1:
        factors = _tucker(module, rank_of)
    else:
        factors = _svd(module, rank_of)
    return factors if _cheaper(factors, layer) else None


def replace(model: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module into the place of another."""
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module.train(model.training))


def _linear(module: nn.Linear, rank_of: RankRule) -> LowRankLinear:
    left, right = _balanced(module.weight, rank_of)
    first = nn.Linear(module.in_features, len(right), bias=False)
    second = nn.Linear(len(right), module.out_features, bias=module.bias is not None)
    return LowRankLinear(*_filled((first, second), (right, left), module.bias))


def _svd(module: Convolution, rank_of: RankRule) -> nn.Sequential:
    left, right = _balanced(module.weight.flatten(1), rank_of)
    first = _like(module, module.in_channels, len(right))
    second = _pointwise(module, len(right), module.out_channels, bias=module.bias is not None)
    return nn.Sequential(*_filled((first, second), (right, left), module.bias))


def _tucker(module: Convolution, rank_of: RankRule) -> nn.Sequential:
    weight = module.weight.detach().double()
    by_output = _basis(weight.flatten(1), rank_of)
    by_input = _basis(weight.transpose(0, 1).flatten(1), rank_of)
    core = torch.einsum("oi...,or,is->rs...", weight, by_output, by_input)
    rank_out, rank_in = core.shape[:2]
    first = _pointwise(module, module.in_channels, rank_in, bias=False)
    middle = _like(module, rank_in, rank_out)
    last = _pointwise(module, rank_out, module.out_channels, bias=module.bias is not None)
    return nn.Sequential(*_filled((first, middle, last), (by_input.T, core, by_output), module.bias))


def _balanced(matrix: Tensor, rank_of: RankRule) -> tuple[Tensor, Tensor]:
    # Both factors get the root of the singular values: neither overflows a narrow number format, both train alike.
    left, values, right = torch.linalg.svd(matrix.detach().double(), full_matrices=False)
    rank = rank_of(values)
    root = values[:rank].sqrt()
    return left[:, :rank] * root, root[:, None] * right[:rank]


def _basis(unfolding: Tensor, rank_of: RankRule) -> Tensor:
    left, values, _ = torch.linalg.svd(unfolding, full_matrices=False)
    basis: Tensor = left[:, : rank_of(values)]
    return basis


def _filled(layers: Sequence[nn.Module], weights: Sequence[Tensor], bias: Tensor | None) -> Sequence[nn.Module]:
    with torch.no_grad():
        for layer, weight in zip(layers, weights, strict=True):
            parameter = layer.get_parameter("weight")
            parameter.copy_(weight.reshape(parameter.shape))
        if bias is not None:
            layers[-1].get_parameter("bias").copy_(bias)
    return layers


def _like(module: Convolution, inputs: int, outputs: int) -> nn.Module:
    kind: Any = type(module)
    return kind(  # type: ignore[no-any-return]
        inputs,
        outputs,
        module.kernel_size,
        stride=module.stride,
        padding=module.padding,
        dilation=module.dilation,
        padding_mode=module.padding_mode,
        bias=False,
    )


def _pointwise(module: Convolution, inputs: int, outputs: int, bias: bool) -> nn.Module:
    kind: Any = type(module)
    return kind(inputs, outputs, 1, bias=bias)  # type: ignore[no-any-return]


def _cheaper(factors: nn.Sequential, layer: Layer) -> bool:
    before = layer.module.weight.numel()
    sizes = [part.get_parameter("weight").numel() for part in factors]
    # In Tucker's form the first part runs on the input's positions, before any stride.
    positions = [layer.positions_in if len(sizes) == 3 and i == 0 else layer.positions_out for i in range(len(sizes))]
    products = sum(size * count for size, count in zip(sizes, positions, strict=True))
    return sum(sizes) < before and products < before * layer.positions_out


def _positions(tensor: Tensor, spatial: bool) -> int:
    return math.prod(tensor.shape[2:] if spatial else tensor.shape[1:-1])
