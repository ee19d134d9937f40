"""Weights as the kernels read them: plain, or as 4-bit indices into a codebook."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Codebook", "find_codebook"]

_ENTRIES = 16


@dataclass(frozen=True, eq=False)
class Codebook:
    """Weights as indices of 4 bits."""

    values: NDArray[np.int8]
    """16 values; unused ones are 0."""
    indices: NDArray[np.uint8]
    """In the shape of the weights."""

    def packed(self, *, rows: bool) -> NDArray[np.int8]:
        """Put two indices into a byte, the first in the low half; with ``rows``, each channel starts a new byte."""
        indices = self.indices.reshape(len(self.indices), -1) if rows else self.indices.reshape(1, -1)
        return _nibbles(indices).reshape(-1).view(np.int8)


def find_codebook(weights: NDArray[np.int8]) -> Codebook | None:
    """Find the codebook of weights with at most 16 distinct values, if that is smaller than the weights themselves."""
    values, indices = np.unique(weights, return_inverse=True)
    if len(values) > _ENTRIES:
        return None
    taps = weights[0].size
    if len(weights) * ((taps + 1) // 2) + _ENTRIES >= weights.size:
        return None
    padded = np.zeros(_ENTRIES, np.int8)
    padded[: len(values)] = values
    return Codebook(padded, indices.reshape(weights.shape).astype(np.uint8))


def _nibbles(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pack two 4-bit numbers to a byte along the last dimension; an odd last one is alone."""
    if rows.shape[-1] % 2:
        rows = np.concatenate([rows, np.zeros_like(rows[..., :1])], axis=-1)
    return (rows[..., ::2] | (rows[..., 1::2] << 4)).astype(np.uint8)
