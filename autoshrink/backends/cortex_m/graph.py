"""An integer network as the generator sees it: tensors, and operators in the order in which they run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

__all__ = ["BITS", "Activation", "DType", "Graph", "Op", "Option", "Padding", "Tensor"]

DType = Literal["int4", "int8", "uint8", "int16", "int32", "int64", "float32"]
Activation = Literal["none", "relu", "relu_n1_to_1", "relu6"]
Padding = Literal["same", "valid"]
Option = int | float | bool | str | tuple[int, ...]

_ACTIVATIONS: dict[str, Activation] = {"none": "none", "relu": "relu", "relu_n1_to_1": "relu_n1_to_1", "relu6": "relu6"}

BITS: dict[DType, int] = {"int4": 4, "int8": 8, "uint8": 8, "int16": 16, "int32": 32, "int64": 64, "float32": 32}


@dataclass(frozen=True, eq=False)
class Tensor:
    """An activation or a constant, in TFLite's layout (NHWC; filters OHWI, depthwise filters 1HWC).

    A real value is ``scale * (integer - zero_point)``, with one scale for the tensor or one for each index of ``axis``.
    """

    name: str
    shape: tuple[int, ...]
    dtype: DType
    scales: tuple[float, ...] = ()
    """Each exactly a float32, as in the file."""
    zero_points: tuple[int, ...] = ()
    axis: int = 0
    data: np.ndarray | None = None
    """A constant's integers, shape ``shape``; 4-bit ones are unpacked to int8."""

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes in memory; 4-bit integers are two to a byte."""
        return (self.size * BITS[self.dtype] + 7) // 8

    @property
    def scale(self) -> float:
        """The scale of a tensor that has only one."""
        return self.scales[0]

    @property
    def zero_point(self) -> int:
        """The zero point of a tensor that has only one."""
        return self.zero_points[0]


@dataclass(frozen=True)
class Op:
    """An operator, by TFLite's name for it, on tensors by their index; an input that is left out is -1."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Option] = field(default_factory=dict)

    def integer(self, name: str, default: int | None = None) -> int:
        """Give an option that is an integer."""
        value = self.options[name] if default is None else self.options.get(name, default)
        if not isinstance(value, int):
            raise TypeError(f"option {name} of {self.kind} is {value!r}")
        return value

    def number(self, name: str) -> float:
        """Give an option that is a real number."""
        value = self.options[name]
        if not isinstance(value, int | float):
            raise TypeError(f"option {name} of {self.kind} is {value!r}")
        return float(value)

    @property
    def activation(self) -> Activation:
        """The fused activation function."""
        name = self.options.get("activation", "none")
        return _ACTIVATIONS[str(name)]


@dataclass(frozen=True)
class Graph:
    """A network: every index is that of a tensor."""

    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
