"""What each way to compress one layer does to the model's answers, measured one at a time."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn

from autoshrink.core import Option
from autoshrink.models.splits import Split
from autoshrink.techniques._torch.answers import Answers
from autoshrink.techniques._torch.channels import Channels, coupled_channels, gives, remove
from autoshrink.techniques._torch.factors import called_layers
from autoshrink.techniques._torch.layers import Weight, outputs, weights
from autoshrink.techniques._torch.rounding import rounded

__all__ = ["FORMATS", "pruned", "rank_reduced", "rounded_to"]

FORMATS: tuple[tuple[int, int | None], ...] = ((8, None), (4, None), (4, 32))
"""Bits and block size; None for one scale a channel."""


def pruned(
    model: nn.Module, example: Split, answers: Answers, ratios: Sequence[float]
) -> Iterator[tuple[str, list[str], list[Option]]]:
    """Remove the channels of smallest l2 norm from one coupled group after the other.

    Args:
        model: stays as it is.
        example: one example.
        answers: the original's, with norms estimated again.
        ratios: shares of the group's channels, ascending.

    Yields:
        The group's root, the layers that give its channels, and its options; none where its width is fixed by the
        model's own code.

    Raises:
        Refusal: the layers can't be followed.
    """
    from torch_pruning.pruner import importance

    magnitude = importance.GroupMagnitudeImportance(p=2, normalizer=None)
    shapes = [tensor.shape for tensor in outputs(model, example)]
    graph, groups = coupled_channels(copy.deepcopy(model), example)
    for channels in groups:
        order = torch.argsort(channels.score(magnitude), stable=True).tolist()
        narrow = copy.deepcopy(model).requires_grad_(True)
        options: list[Option] = []
        gone: list[int] = []
        for ratio in ratios:
            wanted = min(round(channels.units * ratio), channels.units - 1)
            if wanted <= len(gone):
                continue
            # The graph is built again each time: the library's own does not follow a model that was pruned before.
            again, others = coupled_channels(narrow, example)
            now = next((group for group in others if group.root == channels.root), None)
            if now is None:
                break
            remove(again, now, [unit - sum(lost < unit for lost in gone) for unit in order[len(gone) : wanted]])
            gone = order[:wanted]
            if not gives(narrow, example, shapes):
                break
            options.append(Option(kind="channel_pruning", value=ratio, loss=answers.distance(narrow)))
        yield channels.root, _givers(graph, channels), options


def _givers(graph: torch_pruning.DependencyGraph, channels: Channels) -> list[str]:
    found = (dep.target.module for dep, _ in channels.group if graph.is_out_channel_pruning_fn(dep.handler))
    return [graph._module2name[module] for module in found if module in graph._module2name]


@torch.no_grad()
def rank_reduced(
    model: nn.Module, example: Split, answers: Answers, ratios: Sequence[float]
) -> Iterator[tuple[str, list[Option]]]:
    """Lower the rank of one layer after the other, as far as that leaves it fewer weights.

    Args:
        model: its weights are as before afterwards; the statistics of its norms are not.
        example: one example.
        answers: the original's, with norms estimated again.
        ratios: shares of the rank that are kept.
    """
    for layer in called_layers(model, example):
        weight = layer.module.weight
        original = weight.detach().clone()
        bases = _bases(original)
        options = []
        for ratio in ratios:
            kept = [basis[:, : max(1, int(ratio * basis.shape[1] + 0.5))] for basis in bases]
            if _size(original, kept) < original.numel():
                weight.copy_(_projected(original, kept))
                options.append(Option(kind="low_rank", value=ratio, loss=answers.distance(model)))
        weight.copy_(original)
        yield layer.name, options


def _bases(weight: Tensor) -> list[Tensor]:
    # Of outputs, and for Tucker's form of inputs, the most important direction first.
    spatial = weight.dim() > 2 and weight[0, 0].numel() > 1
    matrices = [weight.flatten(1), *([weight.transpose(0, 1).flatten(1)] if spatial else [])]
    return [_basis(matrix.double()) for matrix in matrices]


def _basis(matrix: Tensor) -> Tensor:
    rank = min(matrix.shape)
    _, vectors = torch.linalg.eigh(matrix @ matrix.T)
    basis: Tensor = vectors.flip(1)[:, :rank]
    return basis


def _projected(weight: Tensor, bases: Sequence[Tensor]) -> Tensor:
    # The product of the factors that low-rank factorization puts into the layer's place.
    result = weight.double()
    for axis, basis in enumerate(bases):
        result = torch.tensordot(basis @ basis.T, result.movedim(axis, 0), 1).movedim(0, axis)
    return result.to(weight.dtype)


def _size(weight: Tensor, bases: Sequence[Tensor]) -> int:
    out, inner = weight.shape[:2]
    if len(bases) == 1:
        return bases[0].shape[1] * (out + weight[0].numel())
    ranks = [basis.shape[1] for basis in bases]
    return ranks[0] * out + ranks[0] * ranks[1] * weight[0, 0].numel() + ranks[1] * inner


@torch.no_grad()
def rounded_to(
    model: nn.Module, answers: Answers, formats: Sequence[tuple[int, int | None]] = FORMATS
) -> Iterator[tuple[Weight, list[Option]]]:
    """Round the weights of one layer after the other; they are as before afterwards."""
    for weight in weights(model):
        parameter: Any = getattr(weight.module, weight.attribute)
        original = weight.tensor.clone()
        options = []
        for bits, block_size in formats:
            parameter.copy_(rounded(original, bits, block_size, channels=int(not weight.inputs)))
            sharing: Any = "per_channel" if block_size is None else "per_block"
            loss = answers.distance(model)
            options.append(Option(kind="quantization", value=bits, granularity=sharing, loss=loss))
        parameter.copy_(original)
        yield weight, options
