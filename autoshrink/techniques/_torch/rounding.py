"""Weights rounded to few bits, nearly as the backends do it: enough to tell what that does to a model."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["rounded"]

_CLIPPINGS = torch.linspace(1.0, 0.6, 9).tolist()
"""Parts of the range that a grid of few steps is tried with: clipping a few weights can serve the others."""


def rounded(weight: Tensor, bits: int, block_size: int | None = None, channels: int = 0) -> Tensor:
    """Round a weight on symmetric grids and give it back in float.

    Args:
        weight: any shape of two dimensions or more.
        bits: 8 or 4.
        block_size: how many weights of one output channel share a scale, at most; None for all of them.
        channels: the dimension of the output channels.
    """
    moved = weight.movedim(channels, 0)
    rows = moved.reshape(len(moved), -1)
    blocks = rows if block_size is None else rows.reshape(-1, _length(rows.shape[1], block_size))
    top = 2 ** (bits - 1) - 1
    largest = blocks.abs().amax(1, keepdim=True)
    best = torch.zeros_like(blocks)
    least = torch.full_like(largest, torch.inf)
    for factor in _CLIPPINGS if bits < 8 else _CLIPPINGS[:1]:
        step = torch.where(largest > 0, largest * (factor / top), 1.0)
        tried = (blocks / step).round().clamp(-top, top) * step
        error = (tried - blocks).square().sum(1, keepdim=True)
        best = torch.where(error < least, tried, best)
        least = torch.minimum(error, least)
    return best.reshape(moved.shape).movedim(0, channels)


def _length(row: int, block_size: int) -> int:
    # The longest block that divides a row; the whole row where only short ones do.
    longest = max(size for size in range(1, min(block_size, row) + 1) if row % size == 0)
    return longest if longest * 4 >= min(block_size, row) else row
