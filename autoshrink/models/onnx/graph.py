"""Small steps on an ONNX graph: read constants and attributes, add constants and nodes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

__all__ = [
    "array_of",
    "attribute",
    "constant",
    "constant_of",
    "drop_unused",
    "insert_first",
    "replace_node",
    "replace_uses",
]


def constant(graph: ir.Graph, array: np.ndarray, dtype: ir.DataType | None = None) -> ir.Value:
    """Add a constant to a graph; ``dtype`` packs an array of integers into 4 bits."""
    name = f"constant_{len(graph.initializers)}"
    while name in graph.initializers:
        name += "_"
    tensor = ir.Tensor(array if dtype is None else array.astype(dtype.numpy()), dtype=dtype, name=name)
    value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value


def array_of(value: ir.Value | None) -> np.ndarray | None:
    """Give the content of a constant; None when the value is computed."""
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return None if tensor is None else tensor.numpy()


def constant_of(node: ir.Node, index: int) -> np.ndarray | None:
    """Give the content of a node's input, if it is there and constant."""
    return array_of(node.inputs[index]) if index < len(node.inputs) else None


def attribute(node: ir.Node, name: str, default: Any) -> Any:
    """Read a node's attribute."""
    found = node.attributes.get(name)
    return default if found is None else found.value


def drop_unused(model: ir.Model) -> None:
    """Remove nodes and constants that nothing uses."""
    RemoveUnusedNodesPass()(model)


def insert_first(graph: ir.Graph, nodes: Sequence[ir.Node]) -> None:
    """Put nodes that work on constants before all others."""
    graph.insert_before(graph[0], nodes)


def replace_uses(value: ir.Value, new: ir.Value, users: Collection[ir.Node] | None = None) -> None:
    """Let the users of a value, or some of them, take another value."""
    for node, index in tuple(value.uses()):
        if users is None or node in users:
            node.replace_input_with(index, new)


def replace_node(graph: ir.Graph, old: ir.Node, new: ir.Node) -> None:
    """Put another node, with one output, in a node's place."""
    given, wanted = new.outputs[0], old.outputs[0]
    name, shape, kind = wanted.name, wanted.shape, wanted.type
    graph.insert_before(old, new)
    wanted.replace_all_uses_with(given, replace_graph_outputs=True)
    graph.remove(old, safe=True)
    given.name, given.shape, given.type = name, shape, kind
