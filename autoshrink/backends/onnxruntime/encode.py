"""Apply an encoding to a float graph, and count what the runtime makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from autoshrink.backends.onnxruntime.codebook import store_codebooks
from autoshrink.backends.onnxruntime.dynamic import encode_dynamic
from autoshrink.backends.onnxruntime.weight_only import store_in_int4, store_in_int8
from autoshrink.core import Encoding, Refusal
from autoshrink.models.onnx.calibrate import calibrate
from autoshrink.models.onnx.export import Exported, feeds_of
from autoshrink.models.onnx.half import compute_in_half, store_in_half
from autoshrink.models.onnx.layers import is_plain_matmul
from autoshrink.models.onnx.sessions import executed, probe
from autoshrink.models.onnx.static import encode_static
from autoshrink.models.ranges import Span
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
        The encoded graph, and what was counted: layers that are ``quantized``, weights that are only ``stored`` in
        fewer bits, layers ``kept`` one step higher, ``codebooks``, and ``learned_ranges``.

    Raises:
        Refusal: nothing in the graph can be encoded so.
    """
    model, notes = exported.model, dict[str, Any]()
    per_channel = encoding.granularity == "per_channel"
    kept = _kept(exported, encoding)
    if kept:
        notes["kept"] = len(kept)
    if encoding.scheme == "static":
        learned = {exported.inputs_of[key]: span for key, span in encoding.ranges.items() if key in exported.inputs_of}

        def ranges(values: Sequence[str]) -> dict[str, Span]:
            return calibrate(model, calibration, exported.names, values, encoding.calibration)

        notes["quantized"] = encode_static(model, per_channel, learned, ranges, kept)
        notes["learned_ranges"] = len(learned)
    elif encoding.scheme == "dynamic":
        notes["quantized"] = encode_dynamic(model, per_channel, kept)
    if encoding.scheme != "float":
        if encoding.weight_bits == 4:
            notes["stored"] = store_in_int4(model, encoding.block_size, _rows(exported), kept)
        else:
            notes["stored"] = store_in_int8(model, per_channel, kept)  # what is not computed in int8, too
        if encoding.scheme == "weight_only" and not notes["stored"]:
            raise Refusal(f"weight-only int{encoding.weight_bits} finds no weight that would take less space")
    if encoding.codebook:
        notes["codebooks"] = store_codebooks(model, encoding.codebook)
    if encoding.scheme == "float" and encoding.weight_bits == 16:
        model, count = compute_in_half(model) if half_arithmetic else store_in_half(model)
        if not count and not notes.get("codebooks"):
            raise Refusal("float16 finds no weights that are worth storing in 16 bits")
        notes["stored"] = {"float16": count}
    return model, notes


def _kept(exported: Exported, encoding: Encoding) -> frozenset[ir.Node]:
    """Find the layers that stay one step higher.

    Raises:
        Refusal: one of them is not in the graph as one layer.
    """
    if encoding.scheme == "float":
        return frozenset()
    missing = [name for name in encoding.kept if name not in exported.layers]
    if missing:
        raise Refusal(f"the exported graph has no layer of its own for {', '.join(missing)}, to be kept in more bits")
    return frozenset(exported.layers[name] for name in encoding.kept)


def _rows(exported: Exported) -> dict[ir.Node, int]:
    """Count the rows that each matrix product has for one example."""
    products = [node for node in exported.model.graph if is_plain_matmul(node)]
    names = [str(node.inputs[0].name) for node in products if node.inputs[0] is not None]
    (values,) = probe(exported.model, feeds_of(exported.example, exported.names, 1), names)
    return {node: value.size // value.shape[-1] for node, value in zip(products, values, strict=True)}


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
