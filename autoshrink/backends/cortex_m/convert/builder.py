"""Writes the float network while torch's graph is walked: values with views, and what kernels ask of memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autoshrink.backends.cortex_m.convert.network import Kind, Network, Node
from autoshrink.backends.cortex_m.convert.views import View, port_of, same_steps
from autoshrink.core import Refusal

__all__ = ["Builder", "LayoutRefusal", "Value"]


class LayoutRefusal(Refusal):
    """A kernel would need its data moved first; another layout of the inputs may avoid it."""

    def __init__(self, message: str, progress: int) -> None:
        super().__init__(message)
        self.progress = progress
        """Operators that were written before."""


@dataclass(frozen=True)
class Value:
    """An activation: a tensor of the network, and what torch sees of it."""

    name: str
    view: View

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that torch sees."""
        return self.view.shape


class Builder:
    """Collects operators; ``module`` names where the current one comes from."""

    def __init__(self) -> None:
        self.network = Network()
        self.module = ""
        self._reshaped: dict[tuple[str, tuple[int, ...]], str] = {}

    def add_input(self, name: str, shape: Sequence[int], order: Sequence[int]) -> Value:
        """Declare an input of a shape, whose dimensions lie in memory in an order."""
        view = View.of(shape, order)
        sizes = [shape[dim] for dim in order]
        if len(order) == 3 and order[-1] == 1:  # as the image of height 1 that a convolution over one dimension reads
            sizes.insert(1, 1)
        tensor = self._tensor(name, sizes)
        self.network.inputs[tensor] = port_of(view, self.network.shapes[tensor])
        return Value(tensor, view)

    def set_output(self, value: Value) -> None:
        """Declare what the network gives."""
        self.network.outputs[value.name] = port_of(value.view, self.network.shapes[value.name])

    def emit(self, kind: Kind, inputs: Sequence[str], shape: Sequence[int], **settings: Any) -> str:
        """Add an operator, and name its result, a tensor of the given shape (1, …)."""
        output = self._tensor(self.module or kind, shape)
        self.network.nodes.append(Node(kind, tuple(inputs), output, self.module, **settings))
        return output

    def layout_refusal(self) -> LayoutRefusal:
        """Make the error for data that lie in another order than a kernel needs."""
        where = f" in module {self.module!r}" if self.module else ""
        message = f"the operator{where} needs a transposition while running, which no kernel does"
        return LayoutRefusal(message, len(self.network.nodes))

    def shaped(self, value: Value, shape: Sequence[int]) -> str:
        """Give the tensor another shape; memory stays as it is."""
        wanted = tuple(shape)
        if self.network.shapes[value.name] == wanted:
            return value.name
        key = (value.name, wanted)
        if key not in self._reshaped:
            self._reshaped[key] = self.emit("reshape", [value.name], wanted)
        return self._reshaped[key]

    def image(self, value: Value, *, shuffled: bool = False) -> str:
        """Ask for (1, height, width, channels) of a value (1, channels, [height,] width).

        Args:
            value: what a convolution or a pool reads.
            shuffled: whether the channels may lie in any order.
        """
        view = value.view
        if len(view.dims) not in (3, 4):
            raise Refusal(f"module {self.module!r} reads {value.shape}, not (1, channels, [height,] width)")
        spatial = tuple(range(2, len(view.dims)))
        tail = len(view.dims[1])
        lying = view.memory[: len(view.memory) - tail] == tuple(axis for dim in spatial for axis in view.dims[dim])
        channels = view.memory[len(view.memory) - tail :]
        if not lying or set(channels) != set(view.dims[1]) or (channels != view.dims[1] and not shuffled):
            raise self.layout_refusal()
        height, width = (1, *value.shape[2:])[-2:]
        return self.shaped(value, (1, height, width, value.shape[1]))

    def from_image(self, name: str, like: Value) -> Value:
        """Make the value of an operator that gives (1, height, width, channels), with as many dimensions as another."""
        _, height, width, channels = self.network.shapes[name]
        spatial = (height, width)[-(len(like.view.dims) - 2) :]
        shape = (1, channels, *spatial)
        return Value(name, View.of(shape, (0, *range(2, len(shape)), 1)))

    def affine(self, value: Value, scale: Tensor | float, shift: Tensor | float) -> Value:
        """Multiply and add constants that broadcast to a value."""
        factors, terms = self._spread(value, scale), self._spread(value, shift)
        channels = self.network.shapes[value.name][-1]
        name = value.name
        if not _repeats(factors, channels) or not _repeats(terms, channels):
            channels = len(factors)
            name = self.shaped(value, (1, channels))
        made = self.emit(
            "affine", [name], self.network.shapes[name], weight=factors[:channels].copy(), bias=terms[:channels].copy()
        )
        return Value(made, value.view)

    def unary(self, kind: Kind, value: Value) -> Value:
        """Apply an operator that treats every element alike."""
        return Value(self.emit(kind, [value.name], self.network.shapes[value.name]), value.view)

    def aligned(self, values: Sequence[Value]) -> tuple[list[str], tuple[int, ...], View]:
        """Bring activations that broadcast with each other into shapes that TFLite broadcasts.

        Returns:
            The tensors to read, the shape of the result, and the result's view.
        """
        rank = max(len(value.view.dims) for value in values)
        views = [View(v.view.memory, ((),) * (rank - len(v.view.dims)) + v.view.dims) for v in values]
        for dim in range(rank):
            views = same_steps(views, dim)
        places = [[_place(view, axis) for axis in view.memory] for view in views]
        largest = max(range(len(values)), key=lambda index: len(places[index]))
        order = places[largest]
        for own in places:
            if [place for place in order if place in own] != own:
                raise self.layout_refusal()
        sizes = [axis.size for axis in views[largest].memory]
        kept = [[size if place in own else 1 for size, place in zip(sizes, order, strict=True)] for own in places]
        grouping = _grouping(sizes, self.network.shapes[values[largest].name])
        if any(not _keeps(grouping, sizes, own) for own in kept):
            grouping = [[index] for index in range(len(sizes))]
        shapes = [(1, *(math.prod(own[i] for i in group) for group in grouping)) for own in (*kept, sizes)]
        names = [self.shaped(value, shape) for value, shape in zip(values, shapes, strict=False)]
        return names, shapes[-1], views[largest]

    def _spread(self, value: Value, constant: Tensor | float) -> np.ndarray:
        # The constant for every element, in the order of memory.
        array = torch.as_tensor(constant, dtype=torch.float64).detach()
        try:
            spread = array.expand(value.shape)
        except RuntimeError:
            raise Refusal(
                f"module {self.module!r} spreads an activation {value.shape} over a larger constant"
            ) from None
        view = value.view
        spread = spread.reshape([axis.size for axis in view.logical])
        return spread.permute([view.logical.index(axis) for axis in view.memory]).reshape(-1).numpy()

    def _tensor(self, name: str, shape: Sequence[int]) -> str:
        unique, number = name, 1
        while unique in self.network.shapes:
            number += 1
            unique = f"{name}_{number}"
        self.network.shapes[unique] = tuple(int(size) for size in shape)
        return unique


def _repeats(array: np.ndarray, period: int) -> bool:
    rows = array.reshape(-1, period)
    return bool((rows == rows[0]).all())


def _place(view: View, axis: object) -> tuple[int, int]:
    # Where an axis stands: its dimension, and how many elements of it one step skips.
    for dim, group in enumerate(view.dims):
        step = 1
        for other in reversed(group):
            if other is axis:
                return dim, step
            step *= other.size
    raise ValueError("the axis belongs to another view")


def _grouping(sizes: Sequence[int], shape: Sequence[int]) -> list[list[int]]:
    # Which axes make up each dimension of a declared shape (without its batch).
    groups: list[list[int]] = []
    index = 0
    for size in shape[1:]:
        group: list[int] = []
        while index < len(sizes) and math.prod(sizes[i] for i in group) < size:
            group.append(index)
            index += 1
        groups.append(group)
    return groups


def _keeps(grouping: list[list[int]], sizes: Sequence[int], own: Sequence[int]) -> bool:
    # Whether an operand has all axes of each dimension or none.
    products = ((math.prod(own[i] for i in group), math.prod(sizes[i] for i in group)) for group in grouping)
    return all(product in (1, whole) for product, whole in products)
