"""Masks that keep pruned weights at zero while a model is trained."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from autoshrink.techniques._torch.layers import Weight

__all__ = ["Mask", "attach", "two_of_four", "unstructured"]


class Mask(nn.Module):
    """A parametrization: the weight where the mask is set, zero elsewhere, for the forward pass and for gradients."""

    kept: Tensor

    def __init__(self, kept: Tensor) -> None:
        super().__init__()
        self.register_buffer("kept", kept)

    def forward(self, weight: Tensor) -> Tensor:
        """Zero the pruned weights."""
        return weight * self.kept


def attach(weight: Weight, kept: Tensor) -> None:
    """Keep a weight masked until its parametrizations are removed."""
    parametrize.register_parametrization(weight.module, weight.attribute, Mask(kept))


def unstructured(tensors: Sequence[Tensor], sparsity: float) -> list[Tensor]:
    """Mask the smallest magnitudes of all tensors together.

    Returns:
        One boolean mask a tensor; together they unset ``round(sparsity · weights)`` of them, but at least one weight
        of each tensor stays.
    """
    magnitudes = torch.cat([tensor.abs().flatten() for tensor in tensors])
    largest = torch.cat([_is_first_maximum(tensor.abs().flatten()) for tensor in tensors])
    magnitudes[largest] = torch.inf
    count = round(sparsity * len(magnitudes))
    kept = torch.ones_like(magnitudes, dtype=torch.bool)
    kept[torch.argsort(magnitudes, stable=True)[:count]] = False
    kept |= largest
    parts = torch.split(kept, [tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def two_of_four(tensor: Tensor) -> Tensor:
    """Mask the two smallest magnitudes of every four weights along the input channels.

    Args:
        tensor: shape (outputs, inputs, …), the inputs a multiple of four.
    """
    last = tensor.abs().movedim(1, -1)
    fours = last.reshape(-1, 4)
    kept = torch.zeros_like(fours, dtype=torch.bool)
    kept.scatter_(1, torch.argsort(fours, dim=1, descending=True, stable=True)[:, :2], True)
    return kept.view(last.shape).movedim(-1, 1).contiguous()


def _is_first_maximum(values: Tensor) -> Tensor:
    mask = torch.zeros_like(values, dtype=torch.bool)
    mask[values.argmax()] = True
    return mask
