"""What a network becomes: calls of kernels, one after the other, each with its constants and its needs of memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

__all__ = ["Constant", "Step", "struct"]


@dataclass(frozen=True, eq=False)
class Constant:
    """A constant in flash: an array of integers, or a structure as C text."""

    name: str
    ctype: str
    values: np.ndarray | str
    weight_bytes: int = 0
    """Those of its bytes that are weights or a codebook, and not biases or factors."""

    @property
    def nbytes(self) -> int:
        """Bytes of an array."""
        return self.values.nbytes if isinstance(self.values, np.ndarray) else 0


@dataclass(frozen=True, eq=False)
class Step:
    """One call. In ``call``, ``{a}`` and ``{b}`` stand for the inputs, ``{out}`` and ``{scratch}`` for themselves."""

    title: str
    call: str
    inputs: tuple[int, ...]
    """Tensors of the graph; constants are named in the call."""
    output: int
    sources: tuple[str, ...]
    """Files of the runtime that the call needs."""
    constants: tuple[Constant, ...] = ()
    scratch: int = 0
    """Bytes that only this call needs."""
    leads: dict[int, int | None] = field(default_factory=dict)
    """Inputs that the output may lie over, as in `planner.Overlap`."""
    macs: int = 0


def struct(**fields: object) -> str:
    """Write the initializer of a structure."""

    def written(value: object) -> str:
        if isinstance(value, Sequence) and not isinstance(value, str):
            return "{" + ", ".join(written(item) for item in value) + "}"
        return str(value)

    return "{" + ", ".join(f".{name} = {written(value)}" for name, value in fields.items()) + "}"
