"""An ONNX graph with static shapes, node by node, as the table of operators wants it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

__all__ = ["Graph", "Node", "Unknown", "norm_factors"]


class Unknown(Exception):
    """Something that MXNet has no operator for, or that is not translated."""


@dataclass
class Node:
    """One operator: what it takes, as symbols and where known as values, and all shapes."""

    kind: str
    name: str
    attributes: dict[str, Any]
    inputs: list[Any]
    """Symbols of what is computed; None where an input is known, or left out."""
    values: list[np.ndarray | None]
    """For each input its value, where that is known."""
    shapes: list[tuple[int, ...]]
    """Of the inputs."""
    given: list[tuple[int, ...]]
    """Shapes of the outputs."""
    keep: Callable[[str, np.ndarray], Any]
    """Makes a parameter of a name and a value."""

    def __getitem__(self, index: int) -> Any:
        """Give an input as a symbol."""
        if self.inputs[index] is None:
            self.inputs[index] = self.parameter(f"{index}_constant", self.value(index))
        return self.inputs[index]

    def every(self) -> list[Any]:
        """Give all inputs as symbols."""
        return [self[index] for index in range(len(self.inputs))]

    def get(self, attribute: str, otherwise: Any = None) -> Any:
        """Give an attribute."""
        return self.attributes.get(attribute, otherwise)

    def has(self, index: int) -> bool:
        """Say whether an optional input is there."""
        return index < len(self.inputs) and (self.inputs[index] is not None or self.values[index] is not None)

    def value(self, index: int) -> np.ndarray:
        """Give an input's value.

        Raises:
            Unknown: it is computed.
        """
        found = self.values[index] if index < len(self.values) else None
        if found is None:
            raise Unknown(f"{self.kind} with an input {index} that is computed")
        return found

    def whole(self, index: int) -> list[int]:
        """Give the whole numbers of an input, flat."""
        return [int(number) for number in self.value(index).ravel()]

    def parameter(self, suffix: str, values: np.ndarray) -> Any:
        """Make a parameter of this operator's own; the quantizer wants its name to end in weight or bias."""
        return self.keep(f"{self.name}_{suffix}", values)


class Graph:
    """A file's graph."""

    def __init__(self, file: Path) -> None:
        model = onnx.shape_inference.infer_shapes(onnx.load(str(file)))
        self._graph = model.graph
        self.weights = {item.name: onnx.numpy_helper.to_array(item) for item in self._graph.initializer}
        known = (*self._graph.input, *self._graph.value_info, *self._graph.output)
        self._shapes = {item.name: tuple(size.dim_value for size in item.type.tensor_type.shape.dim) for item in known}
        self._shapes |= {name: array.shape for name, array in self.weights.items()}
        self.output = self._graph.output[0].name
        self._fold_norms()

    def nodes(self) -> Iterator[Any]:
        """Walk through the nodes, in an order in which they can be computed."""
        yield from self._graph.node

    def shape(self, name: str) -> tuple[int, ...]:
        """Give a value's shape.

        Raises:
            Unknown: it depends on what the inputs hold.
        """
        shape = self._shapes.get(name)
        if shape is None or not all(shape):
            raise Unknown(f"the shape of {name} depends on what the inputs hold")
        return shape

    def node(self, proto: Any, name: str, symbols: dict[str, Any], keep: Callable[[str, np.ndarray], Any]) -> Node:
        """Gather what is known about a node."""
        return Node(
            kind=proto.op_type,
            name=name,
            attributes=_attributes(proto),
            inputs=[symbols.get(taken) for taken in proto.input],
            values=[self.weights.get(taken) for taken in proto.input],
            shapes=[self.shape(taken) if taken else () for taken in proto.input],
            given=[self.shape(made) if made else () for made in proto.output],
            keep=keep,
        )

    def _fold_norms(self) -> None:
        """Multiply batch norms into the linear layers before them."""
        used = Counter(name for node in self._graph.node for name in node.input)
        makers = {name: node for node in self._graph.node for name in node.output}
        for norm in [node for node in self._graph.node if node.op_type == "BatchNormalization"]:
            layer = makers.get(norm.input[0])
            if layer is None or layer.op_type != "Gemm" or used[norm.input[0]] > 1 or norm.input[0] == self.output:
                continue
            names = list(layer.input[1:])
            own = len(names) == 2 and all(used[name] == 1 and name in self.weights for name in names)
            if not own or not _attributes(layer).get("transB"):
                continue
            scale, shift = norm_factors(_attributes(norm), [self.weights[name] for name in norm.input[1:5]])
            self.weights[names[0]] = self.weights[names[0]] * scale[:, None]
            self.weights[names[1]] = self.weights[names[1]] * scale + shift
            layer.output[0] = norm.output[0]
            self._graph.node.remove(norm)


def norm_factors(attributes: dict[str, Any], values: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Give what a batch norm multiplies by and adds, from its scale, shift, mean and variance."""
    gamma, beta, mean, variance = (value.astype(np.float64) for value in values)
    scale = gamma / np.sqrt(variance + attributes.get("epsilon", 1e-5))
    return scale, beta - mean * scale


def _attributes(node: Any) -> dict[str, Any]:
    found = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in found.items()}
