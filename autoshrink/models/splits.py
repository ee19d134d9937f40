"""Splits of the user's data, held in memory as tensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["Split", "forward"]


@dataclass(frozen=True, eq=False)
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

    def describe(self) -> str:
        """Print the kinds and shapes of the inputs, for errors."""
        shown = [f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}" for tensor in self.inputs]
        named = [f"{name}: {text}" for name, text in zip(self.names, shown, strict=False)]
        return ", ".join(named or shown)


def forward(model: nn.Module, batch: Split) -> Tensor:
    """Call a model on a batch, by position or by keyword.

    Returns:
        The outputs, shape (examples, …): the tensor itself, or the first of a tuple or dict.

    Raises:
        TypeError: the model's first output is no tensor.
    """
    result = model(**dict(zip(batch.names, batch.inputs, strict=True))) if batch.names else model(*batch.inputs)
    while isinstance(result, tuple | list | dict) and result:
        if isinstance(result, dict):
            result = result.get("logits", next(iter(result.values())))
        else:
            result = result[0]
    if not isinstance(result, torch.Tensor):
        raise TypeError(f"the model's output is a {type(result).__name__}, not a tensor")
    return result
