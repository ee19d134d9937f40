"""What an ONNX file's graph says, as plain values: nodes with their attributes, constants, inputs and outputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from onnx.external_data_helper import load_external_data_for_model
from torch import Tensor

from autoshrink.core import SpecError
from autoshrink.models.onnx.check import check_file, load_model

__all__ = ["Graph", "Input", "Node", "NotTranslatedError", "read_graph", "to_tensor"]

_OWN = ("", "ai.onnx")
_MOST_EXAMPLES = 1024
_OLDEST = 11
"""Opset before which operators took their shapes as attributes."""
_INPUTS: dict[int, type[np.generic]] = {
    onnx.TensorProto.FLOAT: np.float32,
    onnx.TensorProto.INT64: np.int64,
    onnx.TensorProto.INT32: np.int32,
    onnx.TensorProto.BOOL: np.bool_,
}
_WIDENED = {torch.float16: torch.float32, torch.bfloat16: torch.float32}


class NotTranslatedError(Exception):
    """Something in the graph has no torch layer of the same meaning; the message says what, in the file's words."""


@dataclass(frozen=True)
class Node:
    """One operator; a missing optional input or output has an empty name."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    def __str__(self) -> str:
        """Name it for an error."""
        return f"{self.op} {self.name or self.outputs[0]!r}"


@dataclass(frozen=True)
class Input:
    """One input; ``batch`` is the number of examples that the file is fixed to, or None when it is free."""

    name: str
    dtype: type[np.generic]
    batch: int | None


@dataclass(frozen=True)
class Graph:
    """A checked file's graph; ``uses`` counts how often each value is read, as an output of the graph too."""

    opset: int
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[str, Tensor]
    uses: Mapping[str, int]

    @property
    def batch(self) -> int | None:
        """The number of examples that the file is fixed to."""
        return self.inputs[0].batch


def read_graph(path: Path) -> Graph:
    """Read a file, after its declared sizes and places are checked.

    Raises:
        SpecError: it is no ONNX file, or declares what nothing has room for.
        NotTranslatedError: it is older than is read, or has inputs that are no numbers.
    """
    check_file(path)
    try:
        model = load_model(path)
        load_external_data_for_model(model, str(path.parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise SpecError(f"{path}: can't be read: {str(error).partition(chr(10))[0]}") from None
    opset = max((entry.version for entry in model.opset_import if entry.domain in _OWN), default=0)
    if opset < _OLDEST:
        raise NotTranslatedError(f"it is of opset {opset}: export it with opset {_OLDEST} or later")
    graph = model.graph
    if graph.sparse_initializer:
        raise NotTranslatedError("it has sparse weights")
    constants = {tensor.name: to_tensor(tensor) for tensor in graph.initializer}
    inputs = tuple(_input(value) for value in graph.input if value.name not in constants)
    if not inputs or not graph.output:
        raise NotTranslatedError("it has no input or no output")
    if (inputs[0].batch or 1) > _MOST_EXAMPLES:
        raise NotTranslatedError(f"it is fixed to {inputs[0].batch} examples: export it with a free batch")
    outputs = tuple(value.name for value in graph.output)
    nodes = tuple(_node(node) for node in graph.node)
    uses = Counter([*outputs, *(name for node in nodes for name in node.inputs)])
    return Graph(opset, inputs, outputs, nodes, constants, uses)


def to_tensor(tensor: onnx.TensorProto) -> Tensor:
    """Give a stored tensor; halves become floats.

    Raises:
        NotTranslatedError: torch has no such number format.
    """
    try:
        value = torch.from_numpy(np.array(numpy_helper.to_array(tensor)))
    except (TypeError, ValueError):
        kind = onnx.TensorProto.DataType.Name(tensor.data_type)
        raise NotTranslatedError(f"the tensor {tensor.name!r} is of type {kind}") from None
    return value.to(_WIDENED.get(value.dtype, value.dtype))


def _input(value: onnx.ValueInfoProto) -> Input:
    kind = value.type.tensor_type
    if kind.elem_type not in _INPUTS:
        name = onnx.TensorProto.DataType.Name(kind.elem_type)
        raise NotTranslatedError(f"its input {value.name!r} is of type {name}: float32, int64, int32 and bool are read")
    first = kind.shape.dim[0] if kind.shape.dim else None
    fixed = first is not None and first.HasField("dim_value") and first.dim_value > 0
    return Input(value.name, _INPUTS[kind.elem_type], first.dim_value if first is not None and fixed else None)


def _node(node: onnx.NodeProto) -> Node:
    op = node.op_type if node.domain in _OWN else f"{node.domain}::{node.op_type}"
    attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    return Node(op, node.name, tuple(node.input), tuple(node.output), attributes)
