"""The deployable file: the same graph always gives the same bytes."""

from __future__ import annotations

import hashlib
import itertools
import math
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import (
    ClearMetadataAndDocStringPass,
    DeduplicateInitializersPass,
    RemoveUnusedOpsetsPass,
)

from autoshrink.core import Artifact

__all__ = ["compact", "structure_key", "write_artifact"]

_FILE = "model.onnx"
_IR_VERSION = 10
_LARGEST_SHARED = 1024
_LARGEST_SHAPE = 16


def compact(model: ir.Model) -> bytes:
    """Serialize a graph without what depends on the place and the process, and with short names.

    Names and types of inner values are dropped: in a small quantized model they take a fifth of the file.
    """
    DeduplicateInitializersPass(size_limit=_LARGEST_SHARED)(model)
    ClearMetadataAndDocStringPass()(model)
    RemoveUnusedOpsetsPass()(model)
    graph = model.graph
    kept = {value.name for part in (graph, *graph.subgraphs()) for value in (*part.inputs, *part.outputs)}
    kept |= {name for part in graph.subgraphs() for name in part.initializers}
    names = (name for name in map(_short, itertools.count()) if name not in kept)
    for value in list(graph.initializers.values()):
        value.name = next(names)
    for node in graph.all_nodes():
        node.name = None
        for value in node.outputs:
            if value.name and value.name not in kept:
                value.name = next(names)
                value.shape = value.type = None
    graph.name = "model"
    model.ir_version = _IR_VERSION
    model.producer_name, model.producer_version, model.domain, model.model_version = "autoshrink", None, None, None
    content: bytes = ir.to_proto(model).SerializeToString(deterministic=True)
    return content


def write_artifact(content: bytes, folder: Path, backend: str, notes: dict[str, Any]) -> Artifact:
    """Write the one file of an artifact."""
    (folder / _FILE).write_bytes(content)
    key = hashlib.sha256(content).hexdigest()[:16]
    return Artifact(
        key=key, backend=backend, files=(_FILE,), size=len(content), structure=structure_key(content), notes=notes
    )


def structure_key(content: bytes) -> str:
    """Hash a graph without the values of its weights; short integer tensors, such as shapes, are part of it."""
    model = onnx.load_model_from_string(content)
    graphs = [model.graph]
    while graphs:
        graph = graphs.pop()
        for tensor in graph.initializer:
            if math.prod(tensor.dims) > _LARGEST_SHAPE or tensor.data_type != onnx.TensorProto.INT64:
                tensor.ClearField("raw_data")
        graphs += [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()[:16]


def _short(number: int) -> str:
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    text = ""
    while True:
        number, digit = divmod(number, len(digits))
        text = digits[digit] + text
        if not number:
            return text
