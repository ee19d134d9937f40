"""A torch module while it is built: each value with its place in the graph and what it is for two batches."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from autoshrink.models.from_onnx.reading import Graph, Node, NotTranslatedError

__all__ = ["BATCHES", "Builder", "Value"]

BATCHES = (2, 3)
"""Examples in the two batches that are run while building: what differs between them counts examples."""
_LARGEST = 2**28
"""Elements of one value in a batch: more is a mistake or an attack."""


@dataclass(frozen=True, eq=False)
class Value:
    """A value of the graph: what it is for each batch, and the node that computes it, or None when it is known.

    A known value whose samples differ was made of shapes: it depends on the number of examples alone.
    """

    samples: tuple[Tensor, ...]
    node: fx.Node | None = None
    name: str = ""

    @property
    def constant(self) -> Tensor | None:
        """The value, where it is always the same."""
        first = self.samples[0]
        same = self.node is None and all(sample is first or torch.equal(sample, first) for sample in self.samples)
        return first if same else None

    @property
    def shape(self) -> torch.Size:
        """The shape for the first batch."""
        return self.samples[0].shape

    @property
    def batch_axis(self) -> int | None:
        """The axis that counts examples."""
        pairs = zip(self.samples[0].shape, self.samples[1].shape, strict=True)
        return next((axis for axis, (one, other) in enumerate(pairs) if one != other), None)


class Builder:
    """The module that is built, and the values that are known so far by their name in the file."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.root = nn.Module()
        self.fx = fx.Graph()
        self.values: dict[str, Value] = {}
        self.skipped: set[int] = set()
        """Ids of nodes that another one took in."""
        self._layers: dict[tuple[object, ...], str] = {}
        self._size: fx.Node | None = None
        self._first: fx.Node | None = None
        for name, tensor in graph.constants.items():
            self.values[name] = Value((tensor,) * len(BATCHES), name=name)

    def input(self, name: str, argument: str, samples: tuple[Tensor, ...]) -> None:
        """Add an input of the module."""
        node = self.fx.placeholder(argument)
        self._first = self._first or node
        self.values[name] = Value(samples, node, name)

    def get(self, node: Node, index: int) -> Value:
        """Give an input of a node.

        Raises:
            NotTranslatedError: it has none there, or nothing computes it.
        """
        found = self.optional(node, index)
        if found is None:
            raise NotTranslatedError(f"{node} lacks its input {index}")
        return found

    def optional(self, node: Node, index: int) -> Value | None:
        """Give an input of a node, or None when it was left out."""
        name = node.inputs[index] if index < len(node.inputs) else ""
        if not name:
            return None
        if name not in self.values:
            raise NotTranslatedError(f"{node} reads {name!r}, which nothing before it computes")
        return self.values[name]

    def constant(self, node: Node, index: int) -> Tensor:
        """Give an input that has to be a constant.

        Raises:
            NotTranslatedError: it is computed.
        """
        found = self.get(node, index).constant
        if found is None:
            raise NotTranslatedError(f"{node} computes its input {index}, where only a constant is taken")
        return found

    def ints(self, node: Node, index: int) -> list[int] | None:
        """Give a constant input of whole numbers, or None when it was left out."""
        return None if self.optional(node, index) is None else [int(i) for i in self.constant(node, index).reshape(-1)]

    def only_user(self, node: Node) -> Node | None:
        """Give the node that alone reads a node's output."""
        if self.graph.uses[node.outputs[0]] != 1:
            return None
        return next((other for other in self.graph.nodes if node.outputs[0] in other.inputs), None)

    def call(self, function: Callable[..., Any], *args: Any, scalars: bool = False, **kwargs: Any) -> Value:
        """Apply a function of tensors, now where all is known and in the module where it is not.

        Args:
            function: one that torch can trace.
            args: values, lists of values and plain arguments.
            scalars: constants of one element may become plain numbers.
            kwargs: plain arguments.
        """
        values = _values(args)
        self._check_size(function, args, kwargs)
        with torch.no_grad():
            samples = tuple(function(*_picked(args, at), **kwargs) for at in range(len(BATCHES)))
        if all(value.node is None for value in values):
            return Value(samples)
        rank = max(value.samples[0].dim() for value in values if value.node is not None)
        given = _mapped(args, lambda value: self._operand(value, rank if scalars else -1))
        return Value(samples, self.fx.call_function(function, given, kwargs))

    def shaped(self, method: str, value: Value, sizes: Sequence[Sequence[int]]) -> Value:
        """Call ``reshape`` or ``expand`` with a shape for each batch; what differs between them follows the batch."""
        for wanted in sizes:
            self.check_count(math.prod(wanted))
        samples = tuple(getattr(one, method)(*shape) for one, shape in zip(value.samples, sizes, strict=True))
        if value.node is None and samples[0].shape == samples[1].shape:
            return Value(samples)
        free = [axis for axis, (one, other) in enumerate(zip(*sizes, strict=True)) if one != other]
        shape: list[Any] = list(sizes[0])
        for axis in free:
            one_free = len(free) == 1 and method == "reshape"
            shape[axis] = -1 if one_free else self._times(sizes[0][axis], sizes[1][axis])
        node = self._operand(value, -1)
        return Value(samples, self.fx.call_method(method, (node, *shape)))

    def layer(self, kind: str, key: tuple[object, ...], weight: str, module: nn.Module, value: Value) -> Value:
        """Apply a layer; what the file uses twice, with the same weights and settings, is one layer.

        Args:
            kind: what to call a layer whose weights have no telling name.
            key: the weights' names and the settings.
            weight: the name of its weight in the file.
            module: the layer.
            value: its input.
        """
        name = self._layers.get(key)
        if name is None:
            name = self._layers[key] = self._free_name(kind, weight)
            self.root.add_module(name, module.eval())
        with torch.no_grad():
            samples = tuple(module(sample) for sample in value.samples)
        return Value(samples, self.fx.call_module(name, (self._operand(value, -1),)))

    def check_count(self, elements: int) -> None:
        """Refuse a value that nothing has room for.

        Raises:
            NotTranslatedError: it has too many elements.
        """
        if elements > _LARGEST:
            raise NotTranslatedError(f"it computes a value of {elements} elements; {_LARGEST} are the most")

    def _check_size(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # On the meta device nothing is allocated: a few bytes of a file may declare what no memory holds.
        meta = _mapped(args, lambda value: value.samples[-1].to("meta"))
        self.check_count(function(*meta, **kwargs).numel())

    def _operand(self, value: Value, rank: int) -> Any:
        if value.node is not None:
            return value.node
        tensor = value.constant
        if tensor is None:
            raise NotTranslatedError(f"the value {value.name!r} holds shapes, where only numbers are taken")
        if tensor.numel() == 1 and tensor.dim() <= rank:
            return tensor.item()
        name = self._layers.get(("constant", id(tensor)))
        if name is None:
            name = self._layers["constant", id(tensor)] = self._free_name("constant", value.name)
            if tensor.is_floating_point() and tensor.numel() > 1:
                # A parameter is trained with the rest, and narrowed when channels are pruned.
                self.root.register_parameter(name, nn.Parameter(tensor.clone()))
            else:
                self.root.register_buffer(name, tensor.clone())
        return self.fx.get_attr(name)

    def _times(self, one: int, other: int) -> Any:
        if self._size is None:
            self._size = self.fx.call_method("size", (self._first, 0))
        factor, rest = divmod(one, BATCHES[0])
        if rest or factor * BATCHES[1] != other:
            raise NotTranslatedError(f"a shape of {one} for {BATCHES[0]} examples and {other} for {BATCHES[1]}")
        return self._size if factor == 1 else self.fx.call_function(operator.mul, (self._size, factor))

    def _free_name(self, kind: str, weight: str) -> str:
        stem = re.sub(r"\W+", "_", weight.removesuffix(".weight"))
        if not weight.isascii() or not re.fullmatch(r"[A-Za-z]\w*|\d+", stem) or ":" in weight:
            stem = kind
        stem = f"{kind}_{stem}" if stem.isdigit() else stem
        name, number = stem, 0
        while hasattr(self.root, name):
            number += 1
            name = f"{stem}_{number}"
        return name


def _values(args: Any) -> list[Value]:
    if isinstance(args, Value):
        return [args]
    return [value for arg in args for value in _values(arg)] if isinstance(args, tuple | list) else []


def _mapped(args: Any, function: Callable[[Value], Any]) -> Any:
    if isinstance(args, Value):
        return function(args)
    return type(args)(_mapped(arg, function) for arg in args) if isinstance(args, tuple | list) else args


def _picked(args: Any, at: int) -> Any:
    return _mapped(args, lambda value: value.samples[at])
