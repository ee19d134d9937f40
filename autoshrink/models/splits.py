"""Splits of the user's data, held in memory as tensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["Split", "forward"]


@dataclass(frozen=True)
class Split:
    """Examples of one purpose; the first dimension of every tensor counts the examples.

    ``names`` holds the keyword of each input for a model that takes a dict, and is empty for positional inputs.
    ``labels`` is None for data without labels: integers for classes, floats for regression.
    """

    inputs: tuple[Tensor, ...]
    labels: Tensor | None = None
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.inputs[0])

    def rows(self, index: Tensor | slice) -> Split:
        """Take some examples."""
        labels = None if self.labels is None else self.labels[index]
        return Split(tuple(tensor[index] for tensor in self.inputs), labels, self.names)

    def batches(self, size: int) -> Iterator[Split]:
        """Walk through the examples in order, ``size`` at a time."""
        for start in range(0, len(self), size):
            yield self.rows(slice(start, start + size))

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Give the inputs as arrays, for a runtime."""
        return tuple(tensor.numpy() for tensor in self.inputs)


def forward(model: nn.Module, batch: Split) -> Tensor:
    """Call a model on a batch, by position or by keyword.

    Returns:
        The outputs, shape (examples, …): the tensor itself, or the first of a tuple or dict.
    """
    result = model(**dict(zip(batch.names, batch.inputs, strict=True))) if batch.names else model(*batch.inputs)
    if isinstance(result, dict):
        result = result.get("logits", next(iter(result.values())))
    while isinstance(result, tuple | list):
        result = result[0]
    assert isinstance(result, torch.Tensor)
    return result
