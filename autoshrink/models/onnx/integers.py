"""Integer weights and their scales."""

from __future__ import annotations

import numpy as np

__all__ = ["quantize_blocks", "quantize_weight", "reduced_axes"]

_CLIPPINGS = np.linspace(1.0, 0.7, 7)


def reduced_axes(rank: int, axis: int | None) -> tuple[int, ...]:
    """Name the axes that share a scale: all but the channel's."""
    return tuple(index for index in range(rank) if axis is None or index != axis % rank)


def quantize_weight(
    weight: np.ndarray, axis: int | None, smallest: np.ndarray | float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Quantize a weight to int8, symmetrically.

    Args:
        weight: float32.
        axis: of the channels, each of which gets a scale; None for one scale.
        smallest: the least that a scale may be.

    Returns:
        The integers in -127…127, and the scale of shape (channels,), or () without an axis.
    """
    largest = np.abs(weight).max(reduced_axes(weight.ndim, axis))
    scale = np.maximum(largest / np.float32(127), smallest).astype(np.float32)
    scale = np.where(scale > 0, scale, np.float32(1))
    shaped = scale if axis is None else np.expand_dims(scale, reduced_axes(weight.ndim, axis))
    return np.clip(np.rint(weight / shaped), -127, 127).astype(np.int8), scale


def quantize_blocks(blocks: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Quantize blocks of weights symmetrically, each with the clipping that gives it the least squared error.

    Args:
        blocks: float32, shape (blocks, size).
        bits: 8 or 4.

    Returns:
        The integers in int8, of the same shape, and the scales as half floats where they fit, shape (blocks, 1).
    """
    top = 2 ** (bits - 1) - 1
    largest = np.abs(blocks).max(1, keepdims=True)
    candidates = _CLIPPINGS if bits < 8 else _CLIPPINGS[:1]
    best, chosen = np.full(largest.shape, np.inf), np.ones_like(largest)
    for factor in candidates:
        scale = _storable(largest * np.float32(factor / top))
        error = np.square(np.clip(np.rint(blocks / scale), -top, top) * scale - blocks).sum(1, keepdims=True)
        better = error < best
        best, chosen = np.where(better, error, best), np.where(better, scale, chosen)
    stored = chosen.astype(np.float16)
    scales = stored if np.array_equal(stored.astype(np.float32), chosen) else chosen.astype(np.float32)
    return np.clip(np.rint(blocks / chosen), -top, top).astype(np.int8), scales


def _storable(scale: np.ndarray) -> np.ndarray:
    """Round scales to half floats where all of them are normal there; 1 for a block of zeros."""
    scale = np.where(scale > 0, scale, np.float32(1)).astype(np.float32)
    limits = np.finfo(np.float16)
    fits = limits.smallest_normal <= scale.min() and scale.max() <= limits.max
    return scale.astype(np.float16).astype(np.float32) if fits else scale
