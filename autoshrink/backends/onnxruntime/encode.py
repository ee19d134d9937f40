"""Apply an encoding to a float graph, and count what the runtime makes of it."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from autoshrink.backends.onnxruntime.calibrate import calibrate
from autoshrink.backends.onnxruntime.codebook import store_codebooks
from autoshrink.backends.onnxruntime.dynamic import encode_dynamic
from autoshrink.backends.onnxruntime.export import Exported
from autoshrink.backends.onnxruntime.half import compute_in_half, store_in_half
from autoshrink.backends.onnxruntime.sessions import executed
from autoshrink.backends.onnxruntime.static import encode_static
from autoshrink.backends.onnxruntime.weight_only import encode_weight_only
from autoshrink.core import Encoding, Refusal
from autoshrink.models.splits import Split

__all__ = ["check_executed", "encode"]

_INTEGER_OPERATORS = {
    "static": ("MatMulIntegerToFloat", "QGemm", "QLinearConv", "QLinearMatMul"),
    "dynamic": ("DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "MatMulInteger", "MatMulIntegerToFloat"),
}


def encode(
    exported: Exported, encoding: Encoding, calibration: Split, half_arithmetic: bool
) -> tuple[ir.Model, dict[str, Any]]:
    """Encode a float graph, which is used up.

    Args:
        exported: the float graph.
        encoding: the number formats.
        calibration: examples for static ranges.
        half_arithmetic: whether float16 also computes in 16 bits.

    Returns:
        The encoded graph, and what was counted: ``quantized`` layers or weights by kind, ``codebooks``, and for
        learned ranges ``learned_ranges``.

    Raises:
        Refusal: nothing in the graph can be encoded so.
    """
    model, per_channel = exported.model, encoding.granularity == "per_channel"
    notes: dict[str, Any] = {}
    if encoding.scheme == "static":
        learned = {exported.inputs_of[name]: span for name, span in encoding.ranges.items() if name in exported.inputs_of}

        def ranges(values: Any) -> dict[str, tuple[float, float]]:
            return calibrate(model, calibration, exported.names, values, encoding.calibration)

        notes["quantized"] = encode_static(model, per_channel, learned, ranges)
        if encoding.ranges:
            notes["learned_ranges"] = len(learned)
    elif encoding.scheme == "dynamic":
        notes["quantized"] = encode_dynamic(model, per_channel)
    elif encoding.scheme == "weight_only":
        notes["quantized"] = encode_weight_only(model, encoding.weight_bits, per_channel, encoding.block_size)
    if encoding.codebook:
        notes["codebooks"] = store_codebooks(model, encoding.codebook)
    if encoding.scheme == "float" and encoding.weight_bits == 16:
        if half_arithmetic:
            model, count = compute_in_half(model)
        else:
            count = store_in_half(model)
        if not count and not notes.get("codebooks"):
            raise Refusal("float16 finds no weights that are worth storing in 16 bits")
        notes["quantized"] = {"weights": count}
    return model, notes


def check_executed(content: bytes, notes: dict[str, Any], scheme: str, level: str) -> dict[str, Any]:
    """Count the operators that the runtime executes on this machine, after it has rewritten the graph.

    Raises:
        Refusal: layers were quantized, and the runtime executes none of them in integers.
    """
    counts = executed(content, level)
    integer = {name: count for name, count in counts.items() if name in _INTEGER_OPERATORS.get(scheme, ())}
    if scheme in _INTEGER_OPERATORS and not integer:
        layers = ", ".join(f"{count} {kind}" for kind, count in notes["quantized"].items())
        raise Refusal(f"{scheme} int8 was asked for {layers}, and the runtime executes none of them in integers")
    found: dict[str, Any] = {"executed": counts}
    if scheme in _INTEGER_OPERATORS:
        found["in_float"] = max(0, sum(notes["quantized"].values()) - sum(integer.values()))
    return found
