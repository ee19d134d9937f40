"""Codebooks: weights that take few values, found by k-means in one dimension."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from autoshrink.techniques._torch.layers import Weight

__all__ = ["Codebook", "attach", "cluster"]

_ROUNDS = 100


class Codebook(nn.Module):
    """A parametrization: the parameter holds the centroids, and each weight looks its own up.

    A weight that is zero when this is made stays zero: index 0 is then a constant and no parameter.
    """

    indices: Tensor
    zero: Tensor

    def __init__(self, centroids: Tensor, indices: Tensor, keep_zeros: bool) -> None:
        super().__init__()
        self._centroids = centroids
        self.register_buffer("indices", indices)
        self.register_buffer("zero", torch.zeros(int(keep_zeros), dtype=centroids.dtype))

    def forward(self, centroids: Tensor) -> Tensor:
        """Look the weights up."""
        return torch.cat((self.zero, centroids))[self.indices]

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Give the centroids; the weight itself is only where they come from."""
        return self._centroids


def attach(weight: Weight, entries: int) -> None:
    """Make a weight share ``entries`` values, its zeros among them, until its parametrizations are removed."""
    values = weight.tensor
    keep_zeros = bool((values == 0).any())
    flat = values.flatten()
    indices = torch.zeros(len(flat), dtype=torch.long)
    used = flat != 0 if keep_zeros else torch.ones_like(flat, dtype=torch.bool)
    centroids, assigned = cluster(flat[used], entries - int(keep_zeros))
    indices[used] = assigned + int(keep_zeros)
    codebook = Codebook(centroids, indices.view(values.shape), keep_zeros)
    parametrize.register_parametrization(weight.module, weight.attribute, codebook)


def cluster(values: Tensor, entries: int) -> tuple[Tensor, Tensor]:
    """Cluster numbers by Lloyd's algorithm, on sorted values with prefix sums, so that a round takes microseconds.

    It starts from centroids whose density is the cube root of the values' density, which is the best one for many
    centroids (Panter and Dite 1951), and draws nothing at random.

    Args:
        values: shape (n,).
        entries: the most centroids.

    Returns:
        Centroids in ascending order, shape (at most entries,), and the index of each value's centroid, shape (n,).
    """
    ordered, order = torch.sort(values.double())
    sums = torch.cat((ordered.new_zeros(1), ordered.cumsum(0)))
    centroids = _start(ordered, entries)
    for _ in range(_ROUNDS):
        # Centroid i owns the values between bounds[i] and bounds[i + 1].
        bounds = _bounds(ordered, centroids)
        counts = bounds.diff()
        moved = torch.where(counts > 0, sums[bounds].diff() / counts.clamp_min(1), centroids)
        if torch.equal(moved, centroids):
            break
        centroids = moved
    centroids = centroids[_bounds(ordered, centroids).diff() > 0]
    counts = _bounds(ordered, centroids).diff()
    indices = torch.empty_like(order)
    indices[order] = torch.repeat_interleave(torch.arange(len(centroids)), counts)
    return centroids.to(values.dtype), indices


def _bounds(ordered: Tensor, centroids: Tensor) -> Tensor:
    between = torch.searchsorted(ordered, (centroids[1:] + centroids[:-1]) / 2)
    return functional.pad(functional.pad(between, (1, 0)), (0, 1), value=len(ordered))


def _start(ordered: Tensor, entries: int) -> Tensor:
    distinct: Tensor = torch.unique_consecutive(ordered)
    if len(distinct) <= entries:
        return distinct
    bins = min(2048, max(16, len(ordered) // 64))
    edges = torch.linspace(float(ordered[0]), float(ordered[-1]), bins + 1, dtype=ordered.dtype)
    counts = torch.searchsorted(ordered, edges[1:-1])
    counts = torch.cat((counts.new_zeros(1), counts, counts.new_full((1,), len(ordered)))).diff()
    mass = torch.cat((edges.new_zeros(1), counts.double().pow(1 / 3).cumsum(0)))
    wanted = (torch.arange(entries, dtype=mass.dtype) + 0.5) / entries * mass[-1]
    right = torch.searchsorted(mass, wanted).clamp(1, bins)
    share = (wanted - mass[right - 1]) / (mass[right] - mass[right - 1])
    return torch.lerp(edges[right - 1], edges[right], share)
