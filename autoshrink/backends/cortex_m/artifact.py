"""The deployable file of a microcontroller, and what its notes say about its inputs and outputs."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoshrink.backends.cortex_m.encodings import MOST_ENTRIES
from autoshrink.backends.cortex_m.graph import Graph, Tensor
from autoshrink.backends.cortex_m.ports import Port
from autoshrink.backends.cortex_m.write_tflite import write_tflite
from autoshrink.core import Artifact, Encoding, Refusal

if TYPE_CHECKING:
    from autoshrink.backends.cortex_m.convert import Converted

__all__ = ["FILE", "counted", "input_ports", "output_port", "real_weights", "write_artifact"]

FILE = "model.tflite"
_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def counted(graph: Graph, encoding: Encoding) -> dict[str, Any]:
    """Count what was really encoded.

    Raises:
        Refusal: nothing was, or the shared weights that were asked for are gone.
    """
    weights = [graph.tensors[op.inputs[1]] for op in graph.ops if op.kind in _WEIGHTED]
    if not weights:
        raise Refusal("the model has no weights that could be quantized")
    shared = [tensor for tensor in weights if tensor.data is not None and len(np.unique(tensor.data)) <= MOST_ENTRIES]
    if encoding.codebook and not shared:
        raise Refusal(f"no layer kept to {encoding.codebook} different weights when it was rounded to integers")
    return {
        "operators": dict(sorted(Counter(op.kind for op in graph.ops).items())),
        "quantized": len(weights),
        "weights": dict(sorted(Counter(tensor.dtype for tensor in weights).items())),
        "codebooks": len(shared),
        **({"kept": len(encoding.kept)} if encoding.kept else {}),
    }


def real_weights(graph: Graph) -> list[np.ndarray]:
    """Give the weights of a network's layers as the real numbers that its integers stand for, in the file's layout."""
    return [_real(graph.tensors[op.inputs[1]]) for op in graph.ops if op.kind in _WEIGHTED]


def _real(tensor: Tensor) -> np.ndarray:
    assert tensor.data is not None  # a layer's weights are constants
    along = [-1 if axis == tensor.axis else 1 for axis in range(len(tensor.shape))] if len(tensor.scales) > 1 else [1]
    scales, zeros = (np.array(values).reshape(along) for values in (tensor.scales, tensor.zero_points))
    real: np.ndarray = (tensor.data.astype(np.float64) - zeros) * scales
    return real


def write_artifact(converted: Converted, folder: Path, backend: str, notes: Mapping[str, Any]) -> Artifact:
    """Write the one file of an artifact."""
    content = write_tflite(converted.graph)
    (folder / FILE).write_bytes(content)
    ports = {"inputs": [asdict(port) for port in converted.inputs], "output": asdict(converted.output)}
    return Artifact(
        key=hashlib.sha256(content).hexdigest()[:16],
        backend=backend,
        files=(FILE,),
        size=len(content),
        notes={**notes, **ports, "difference": converted.difference},
    )


def input_ports(artifact: Artifact) -> Sequence[Port] | None:
    """Say how inputs are brought into the file's order; None for a file of others, which has an order of its own."""
    ports = artifact.notes.get("inputs")
    return None if ports is None else [_port(port) for port in ports]


def output_port(artifact: Artifact) -> Port | None:
    """Say how the output is brought into torch's order; None for a file of others."""
    port = artifact.notes.get("output")
    return None if port is None else _port(port)


def _port(fields: Mapping[str, Sequence[int]]) -> Port:
    return Port(**{name: tuple(numbers) for name, numbers in fields.items()})
