"""What needs no GPU: the graph that the parser gets, checks of it, and the settings of a build."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import onnx_ir as ir

from autoshrink.core import Encoding, Hardware, Refusal
from autoshrink.models.onnx.artifact import compact
from autoshrink.models.onnx.calibrate import calibrate
from autoshrink.models.onnx.export import export_float
from autoshrink.models.onnx.graph import array_of
from autoshrink.models.onnx.half import compute_in_half
from autoshrink.models.onnx.static import FLOAT8, S8S8, encode_static
from autoshrink.models.ranges import Span

if TYPE_CHECKING:
    from torch import nn

    from autoshrink.models.splits import Split

__all__ = ["Prepared", "Settings", "check_network", "prepare"]

_WORKSPACE = 1 << 30
_NOT_THERE = ("If", "Loop", "Scan", "SequenceConstruct", "StringNormalizer")


@dataclass(frozen=True)
class Settings:
    """How an engine is built.

    Number formats are not among them: since TensorRT 11 a network has those that its graph says, and none beside.
    """

    product: Literal["tensorrt", "tensorrt_rtx"] = "tensorrt"
    eight_bits: Literal["int8", "float8"] = "int8"
    effort: int = 3
    workspace: int = _WORKSPACE
    """Bytes that a kernel may use beside its tensors."""
    cleared: tuple[str, ...] = ("TF32",)
    """Flags that are off: 32-bit floats have all their bits."""

    @classmethod
    def of(cls, hardware: Hardware) -> Settings:
        """Read the options of a profile; the workspace is at most a quarter of its memory."""
        options = {
            name: hardware.options[name] for name in ("product", "eight_bits", "effort") if name in hardware.options
        }
        memory = hardware.limits.memory
        return cls(**options, workspace=_WORKSPACE if memory is None else min(_WORKSPACE, int(memory) // 4))


@dataclass(frozen=True)
class Prepared:
    """An ONNX file for the parser."""

    content: bytes
    names: tuple[str, ...]
    """Of the inputs."""
    quantized: dict[str, int]
    """Layers with 8 bits around them, by operator."""


def prepare(model: nn.Module, example: Split, encoding: Encoding, calibration: Split, settings: Settings) -> Prepared:
    """Export a module, check the graph against it, and encode it as TensorRT wants it.

    Args:
        model: in eval mode, on the CPU.
        example: one example.
        encoding: the number formats.
        calibration: examples for static ranges and for the check.
        settings: of the build.

    Raises:
        Refusal: the model can't be exported or encoded, or TensorRT has no operator for it.
    """
    exported = export_float(model, example, calibration, encoding.ranges)
    graph, quantized = exported.model, dict[str, int]()
    if encoding.scheme == "static":
        learned = {exported.inputs_of[key]: span for key, span in encoding.ranges.items() if key in exported.inputs_of}

        def ranges(values: Sequence[str]) -> dict[str, Span]:
            return calibrate(graph, calibration, exported.names, values, encoding.calibration)

        preset = FLOAT8 if settings.eight_bits == "float8" else S8S8
        per_channel = encoding.granularity == "per_channel"
        quantized = encode_static(graph, per_channel, learned, ranges, preset=preset)
    elif encoding.weight_bits == 16:
        graph, _ = compute_in_half(graph)
    check_network(graph)
    return Prepared(compact(graph), exported.names, quantized)


def check_network(model: ir.Model) -> None:
    """Check that TensorRT can take a graph: standard operators, and 8 bits around exact zeros.

    Raises:
        Refusal: it can't; names the operator or the value.
    """
    for node in model.graph.all_nodes():
        if node.domain not in ("", "ai.onnx") or node.op_type in _NOT_THERE:
            raise Refusal(f"TensorRT has no operator {node.domain or 'ai.onnx'}.{node.op_type}")
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear") or len(node.inputs) < 3:
            continue
        zero = array_of(node.inputs[2])
        if zero is None or np.asarray(zero, np.float32).any() or zero.dtype == np.uint8:
            raise Refusal(f"TensorRT takes symmetric 8 bits only, and {node.op_type} has a zero point of its own")
