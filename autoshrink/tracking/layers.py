"""The layers of an artifact: what each one's weights are stored as, for tables that compare two candidates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoshrink.core import Artifact

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto, TensorProto

    _Constants = dict[str, TensorProto]
    _Makers = dict[str, NodeProto]

__all__ = ["LAYERS", "layers_of"]

LAYERS = "layers.json"
"""The artifact of a candidate's run that holds them."""

_MOST = 2000
"""Layers that are listed."""
_DEPTH = 8
"""Nodes between a layer and the weight that it uses: dequantization, a codebook's look-up, transposition."""
_EMBEDDINGS = ("Gather", "GatherBlockQuantized")


def layers_of(artifact: Artifact, folder: Path) -> dict[str, Any]:
    """List the layers that have weights.

    Args:
        artifact: any backend's.
        folder: holds its files.

    Returns:
        ``layers``: name, operator, shape as stored, number format, weights, those that are not zero and bytes; empty
        for other files than ONNX. ``counted``: what the backend counted while it made them.
    """
    first = folder / artifact.files[0]
    rows = list(_onnx_layers(first))[:_MOST] if first.suffix == ".onnx" else []
    plain = {name: note for name, note in artifact.notes.items() if isinstance(note, (str, int, float, dict))}
    return {"layers": rows, "counted": {name: note for name, note in plain.items() if name not in ("inputs", "output")}}


def _onnx_layers(file: Path) -> Iterator[dict[str, Any]]:
    from autoshrink.models.onnx.check import load_model

    graph = load_model(file).graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        places = node.input[:1] if node.op_type in _EMBEDDINGS else node.input[1:]
        weights = [tensor for place in places if (tensor := _weight(place, constants, makers)) is not None]
        if _computes(node, graph) and weights:
            yield _row(node, weights)


def _computes(node: NodeProto, graph: GraphProto) -> bool:
    kind = node.op_type
    return kind in (*_EMBEDDINGS, "LSTM", "GRU", "RNN") or any(word in kind for word in ("Conv", "MatMul", "Gemm"))


def _weight(place: str, constants: _Constants, makers: _Makers) -> TensorProto | None:
    """Follow a layer's input back to the matrix or tensor that it is made of; None when it is no weight."""
    found = [tensor for tensor in _parts(place, constants, makers, _DEPTH) or () if len(tensor.dims) >= 2]
    return max(found, key=_count, default=None)


def _parts(name: str, constants: _Constants, makers: _Makers, depth: int) -> list[TensorProto] | None:
    """List the constants that a value is made of; None when an input of the model is among what it is made of."""
    if name in constants:
        return [constants[name]]
    if name not in makers or not depth:
        return None
    found: list[TensorProto] = []
    for place in filter(None, makers[name].input):
        parts = _parts(place, constants, makers, depth - 1)
        if parts is None:
            return None
        found += parts
    return found


def _row(node: NodeProto, weights: list[TensorProto]) -> dict[str, Any]:
    from onnx import TensorProto

    first = weights[0]
    return {
        "name": first.name,
        "operator": node.op_type,
        "shape": list(first.dims),
        "format": TensorProto.DataType.Name(first.data_type).lower(),
        "weights": sum(map(_count, weights)),
        "nonzero": sum(map(_nonzero, weights)),
        "bytes": sum(map(_bytes, weights)),
    }


def _count(tensor: TensorProto) -> int:
    count = 1
    for size in tensor.dims:
        count *= size
    return count


def _nonzero(tensor: TensorProto) -> int:
    import numpy as np
    from onnx import numpy_helper

    return int(np.count_nonzero(numpy_helper.to_array(tensor).astype(np.float32)))


def _bytes(tensor: TensorProto) -> int:
    from onnx import TensorProto, helper

    if tensor.data_type in (TensorProto.INT4, TensorProto.UINT4):
        return (_count(tensor) + 1) // 2
    return _count(tensor) * int(helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
