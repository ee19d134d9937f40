"""``.tflite`` files as objects: reading, writing, and what an artifact is known by."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

__all__ = ["compact", "executed", "layers", "read", "structure_key", "write"]

_LAYERS = ("BATCH_MATMUL", "CONV_2D", "DEPTHWISE_CONV_2D", "EMBEDDING_LOOKUP", "FULLY_CONNECTED", "TRANSPOSE_CONV")
"""Operators whose weights are worth fewer bits."""
_LARGEST_SHAPE = 64
"""Bytes of the largest constant that says how tensors are shaped, and is not a weight."""


def read(content: bytes) -> Any:
    """Read a file into objects that can be changed."""
    from ai_edge_litert.tools import flatbuffer_utils

    return flatbuffer_utils.read_model_from_bytearray(bytearray(content))


def write(model: Any) -> bytes:
    """Write objects as a file."""
    from ai_edge_litert.tools import flatbuffer_utils

    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def compact(content: bytes) -> bytes:
    """Drop what no runtime reads: names of tensors, which take a tenth of a small file, and remarks of the writer."""
    model = read(content)
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            tensor.name = None
    model.description = None
    return write(model)


def executed(content: bytes) -> dict[str, int]:
    """Count the operators by name."""
    return dict(sorted(Counter(name for name, _ in _operators(read(content))).items()))


def layers(content: bytes) -> Counter[str]:
    """Count the operators that have weights by what they compute in: float, dynamic or static."""
    counts: Counter[str] = Counter()
    for name, types in _operators(read(content)):
        if name in _LAYERS and len(types) > 1:
            # An embedding is looked up by an index: its table comes second, like the weights of the others.
            taken, weights = types[0].startswith("INT8"), types[1].startswith("INT")
            counts["static" if taken and weights else "dynamic" if weights else "float"] += 1
    return counts


def _operators(model: Any) -> list[tuple[str, list[str]]]:
    from ai_edge_litert.tools import flatbuffer_utils

    names = _names(flatbuffer_utils.schema_fb.BuiltinOperator)
    types = _names(flatbuffer_utils.schema_fb.TensorType)
    return [
        (
            names[model.operatorCodes[operator.opcodeIndex].builtinCode],
            [types[graph.tensors[index].type] for index in operator.inputs if index >= 0],
        )
        for graph in model.subgraphs
        for operator in graph.operators
    ]


def _names(kind: type) -> dict[int, str]:
    return {value: name for name, value in vars(kind).items() if isinstance(value, int)}


def structure_key(content: bytes) -> str:
    """Hash a file without its weights and scales."""
    model = read(content)
    for buffer in model.buffers:
        if buffer.data is not None and len(buffer.data) > _LARGEST_SHAPE:
            buffer.data = None
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            if tensor.quantization is not None:
                tensor.quantization.scale = tensor.quantization.zeroPoint = None
                tensor.quantization.min = tensor.quantization.max = None
    return hashlib.sha256(write(model)).hexdigest()[:16]
