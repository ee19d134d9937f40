"""How torch's arrays are laid out in the deployed file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Port"]


@dataclass(frozen=True)
class Port:
    """How an input or output of the deployed file is made from torch's array.

    Torch's array (examples, …) is cut into ``parts``, these are put into ``order``, and the result has the file's
    ``shape`` (1, …) for each example.
    """

    shape: tuple[int, ...]
    parts: tuple[int, ...]
    order: tuple[int, ...]
    torch_shape: tuple[int, ...]

    def to_file(self, array: np.ndarray) -> np.ndarray:
        """Put torch's array (examples, …) into the file's order: shape (examples, *shape[1:])."""
        parts = array.reshape(len(array), *self.parts).transpose(0, *(axis + 1 for axis in self.order))
        return np.ascontiguousarray(parts.reshape(len(array), *self.shape[1:]))

    def to_torch(self, array: np.ndarray) -> np.ndarray:
        """Put the file's array (examples, …) into torch's order: shape (examples, *torch_shape[1:])."""
        sizes = [self.parts[axis] for axis in self.order]
        parts = array.reshape(len(array), *sizes).transpose(0, *(self.order.index(i) + 1 for i in range(len(sizes))))
        return np.ascontiguousarray(parts.reshape(len(array), *self.torch_shape[1:]))
