"""How a tensor of torch lies in memory: which permutations, reshapes and flattenings cost nothing.

A tensor in memory is a sequence of *axes*, slowest first. A *view* says which axes make up each dimension that torch
sees. A permutation, a flattening or a new dimension of size 1 only changes the view; a kernel asks for an order in
memory and finds it, or the model is refused. Axes of size 1 are left out, so the batch of one example has none.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from autoshrink.backends.cortex_m.ports import Port
from autoshrink.core import Refusal

__all__ = ["Axis", "View", "port_of", "same_steps"]


@dataclass(frozen=True, eq=False)
class Axis:
    """One loop over memory; two axes of the same size are not the same axis."""

    size: int


@dataclass(frozen=True)
class View:
    """The dimensions that torch sees, each a group of axes (slowest first), and the order of all axes in memory."""

    memory: tuple[Axis, ...]
    dims: tuple[tuple[Axis, ...], ...]

    @classmethod
    def of(cls, shape: Sequence[int], order: Sequence[int] | None = None) -> View:
        """Make a view of a shape whose dimensions lie in memory in an order, by default their own."""
        dims = tuple((Axis(size),) if size != 1 else () for size in shape)
        return cls(tuple(axis for dim in (order or range(len(shape))) for axis in dims[dim]), dims)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that torch sees."""
        return tuple(_size(dim) for dim in self.dims)

    @property
    def logical(self) -> tuple[Axis, ...]:
        """The axes in the order in which torch counts the elements."""
        return tuple(axis for dim in self.dims for axis in dim)

    def permute(self, order: Sequence[int]) -> View:
        """Reorder the dimensions."""
        return View(self.memory, tuple(self.dims[dim] for dim in order))

    def reshape(self, shape: Sequence[int]) -> View:
        """Give the same elements another shape, splitting axes where it cuts through them.

        Raises:
            Refusal: the new shape cuts an axis where it can't be cut.
        """
        cuts = {math.prod(shape[index:]) for index in range(len(shape) + 1)}
        view = self._split(cuts)
        axes, dims = list(view.logical), []
        for size in shape:
            group: list[Axis] = []
            while _size(group) < size:
                group.append(axes.pop(0))
            dims.append(tuple(group))
        return View(view.memory, tuple(dims))

    def split_dim(self, dim: int, steps: Iterable[int]) -> View:
        """Cut the axes of a dimension so that each of ``steps`` (elements of the dimension) is a border of axes."""
        inner = math.prod(self.shape[dim + 1 :])
        return self._split({step * inner for step in steps})

    def in_memory(self, *dims: int) -> bool:
        """Whether memory holds exactly these dimensions, in this order, with all others of size 1."""
        return self.memory == tuple(axis for dim in dims for axis in self.dims[dim])

    def positions(self, dim: int) -> np.ndarray:
        """Give the indices of a dimension in the order in which memory holds them, shape (size,)."""
        group = self.dims[dim]
        order = sorted(range(len(group)), key=lambda index: self.memory.index(group[index]))
        indices = np.arange(_size(group)).reshape([axis.size for axis in group])
        return indices.transpose(order).reshape(-1)

    def _split(self, cuts: set[int]) -> View:
        # A cut is the number of elements that one step over a border of axes skips, counted as torch does.
        replaced: dict[Axis, tuple[Axis, ...]] = {}
        inner = 1
        for axis in reversed(self.logical):
            inside = sorted(cut for cut in cuts if inner < cut < inner * axis.size)
            if inside:
                borders = [inner, *inside, inner * axis.size]
                if any(b % a for a, b in itertools.pairwise(borders)):
                    raise Refusal(f"a reshape cuts {axis.size} elements into parts that are no regular grid")
                parts = [Axis(b // a) for a, b in itertools.pairwise(borders)]
                replaced[axis] = tuple(reversed(parts))
            inner *= axis.size
        if not replaced:
            return self

        def put(axes: Iterable[Axis]) -> tuple[Axis, ...]:
            return tuple(new for axis in axes for new in replaced.get(axis, (axis,)))

        return View(put(self.memory), tuple(put(dim) for dim in self.dims))


def port_of(view: View, shape: Sequence[int]) -> Port:
    """Describe an input or output of the file that has a shape (1, …) and is seen by torch through a view."""
    logical = view.logical
    order = tuple(logical.index(axis) for axis in view.memory)
    return Port(tuple(shape), tuple(axis.size for axis in logical), order, view.shape)


def same_steps(views: Sequence[View], dim: int) -> list[View]:
    """Cut one dimension of several views at the same places; views where it has size 1 stay as they are.

    Raises:
        Refusal: the places exclude each other.
    """
    steps: set[int] = set()
    for view in views:
        step = 1
        for axis in reversed(view.dims[dim]):
            steps.add(step)
            step *= axis.size
    return [view.split_dim(dim, steps) if view.dims[dim] else view for view in views]


def _size(axes: Iterable[Axis]) -> int:
    return math.prod(axis.size for axis in axes)
