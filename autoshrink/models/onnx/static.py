"""Static 8 bits: activations with ranges known beforehand; most often in uint8, with weights in int8 (U8S8).

Written as QuantizeLinear/DequantizeLinear pairs around what the runtime fuses to integer operators. Processors without
VNNI (or its like) may saturate when they add pairs of U8S8 products; those have it that are sold since about 2019.

References:
    Jacob et al.: Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference (2018).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from autoshrink.core import Refusal
from autoshrink.models.onnx.graph import array_of, constant, drop_unused, insert_first, replace_uses
from autoshrink.models.onnx.integers import quantize_weight, reduced_axes
from autoshrink.models.onnx.layers import is_plain_matmul, weight_axis
from autoshrink.models.ranges import Span

__all__ = ["FLOAT8", "S8S8", "U8S8", "Preset", "affine", "encode_static"]

_FUSED = ("Relu", "Clip")
_FUSED_TO_GEMM = (*_FUSED, "Elu", "HardSigmoid", "LeakyRelu", "Selu", "Sigmoid", "Softplus", "Softsign", "Tanh")
_KEEPS_RANGE = ("Flatten", "MaxPool", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
_OWN_RANGE = ("Add", "AveragePool", "Concat", "GlobalAveragePool", "LeakyRelu", "Mul", "Sigmoid")
_BIAS_ROOM = 2.0**30


@dataclass(frozen=True)
class Preset:
    """What a runtime takes as static 8 bits."""

    dtype: ir.DataType
    """Of activations: UINT8 with a zero point, or INT8 or FLOAT8E4M3FN, symmetric around an exact zero."""
    integer_bias: bool
    """Whether biases are integers too, else they stay in float."""

    @property
    def symmetric(self) -> bool:
        """Whether there are no zero points other than zero."""
        return self.dtype != ir.DataType.UINT8


U8S8 = Preset(ir.DataType.UINT8, integer_bias=True)
"""ONNX Runtime on processors."""
S8S8 = Preset(ir.DataType.INT8, integer_bias=False)
"""TensorRT, by itself or under ONNX Runtime."""
FLOAT8 = Preset(ir.DataType.FLOAT8E4M3FN, integer_bias=False)
"""TensorRT on cards that have it: four bits of exponent, three of mantissa, for weights too."""


@dataclass
class _Plan:
    """What becomes int8: layers, operators between them, and the values that carry int8."""

    layers: list[ir.Node] = field(default_factory=list)
    between: list[ir.Node] = field(default_factory=list)
    roots: dict[ir.Value, ir.Value] = field(default_factory=dict)
    """Each value that is quantized, and the value that it has its range from."""
    integer: set[ir.Value] = field(default_factory=set)
    """Those whose producer gives int8."""


@dataclass(frozen=True)
class _Scale:
    """Scale and zero point of a value, as constants of the graph."""

    number: np.float32
    scale: ir.Value
    zero: ir.Value


def encode_static(
    model: ir.Model,
    per_channel: bool,
    learned: dict[str, Span],
    calibrate: Callable[[Sequence[str]], dict[str, Span]],
    kept: Collection[ir.Node] = (),
    preset: Preset = U8S8,
) -> dict[str, int]:
    """Quantize convolutions and fully connected layers, and what lies between them, in place.

    Args:
        model: a float graph.
        per_channel: a scale for each output channel of a weight, else one for all.
        learned: ranges by value that replace calibration.
        calibrate: finds the ranges of the named values.
        kept: layers that stay in float.
        preset: what the runtime takes.

    Returns:
        How many layers were quantized, by operator.

    Raises:
        Refusal: the graph has no layer that the runtime executes in int8.
    """
    plan = _make_plan(model.graph, kept)
    if not plan.layers:
        raise Refusal("static int8 finds no convolution and no fully connected layer with constant weights")
    spans = _spans(plan, learned, calibrate)
    scales: dict[ir.Value, _Scale] = {}
    for root, span in spans.items():
        scale, zero = affine(span, preset)
        scales[root] = _Scale(scale, constant(model.graph, np.array(scale)), constant(model.graph, np.array(zero)))
    for layer in plan.layers:
        source = layer.inputs[0]
        assert source is not None
        _quantize_weights(model.graph, layer, scales[plan.roots[source]], per_channel, preset)
    for value, root in plan.roots.items():
        _quantize_value(model.graph, value, scales[root], plan)
    drop_unused(model)
    counts: dict[str, int] = {}
    for layer in plan.layers:
        counts[layer.op_type] = counts.get(layer.op_type, 0) + 1
    return counts


def affine(span: Span, preset: Preset = U8S8) -> tuple[np.float32, np.generic]:
    """Give scale and zero point of a range; zero is always exact."""
    low, high = min(span[0], 0.0), max(span[1], 0.0)
    if preset.symmetric:
        largest = max(-low, high)
        scale = np.float32(largest / _largest(preset.dtype)) if largest > 0 else np.float32(1)
        return scale, preset.dtype.numpy().type(0)
    scale = np.float32((high - low) / 255) if high > low else np.float32(1)
    return scale, np.uint8(np.clip(np.rint(-low / scale), 0, 255))


def _make_plan(graph: ir.Graph, kept: Collection[ir.Node]) -> _Plan:
    plan = _Plan()
    for node in graph:
        if node in kept:
            continue
        if _is_layer(node):
            source = node.inputs[0]
            assert source is not None
            plan.layers.append(node)
            plan.roots.setdefault(source, source)
            if _gives_integers(node):
                output = _after_activation(node)
                plan.roots[output] = output
                plan.integer.add(output)
        elif node.op_type in (*_KEEPS_RANGE, *_OWN_RANGE) and _takes_integers(node, plan):
            source = node.inputs[0]
            assert source is not None
            keeps = node.op_type in _KEEPS_RANGE
            output = node.outputs[0] if keeps else _after_activation(node)
            if output.is_graph_output():
                continue
            plan.between.append(node)
            plan.roots[output] = plan.roots[source] if keeps else output
            plan.integer.add(output)
    return plan


def _is_layer(node: ir.Node) -> bool:
    if node.op_type != "Conv":
        return is_plain_matmul(node)
    weight, *bias = [array_of(value) for value in node.inputs[1:]]
    return weight is not None and weight.dtype == np.float32 and all(item is not None for item in bias)


def _gives_integers(node: ir.Node) -> bool:
    """Whether the runtime executes a layer in integers only if its output is int8 again.

    So it is with every convolution, and with a Gemm before an activation that else would be fused to it in float.
    """
    users = [user.op_type for user, _ in node.outputs[0].uses()]
    return node.op_type == "Conv" or (node.op_type == "Gemm" and len(users) == 1 and users[0] in _FUSED_TO_GEMM)


def _after_activation(node: ir.Node) -> ir.Value:
    """Give a node's output, or that of the activation which the runtime fuses into it."""
    output = node.outputs[0]
    users = [user for user, _ in output.uses()]
    if len(users) == 1 and users[0].op_type in _FUSED and not output.is_graph_output():
        return users[0].outputs[0]
    return output


def _takes_integers(node: ir.Node, plan: _Plan) -> bool:
    parameters = node.inputs[1:] if node.op_type in _KEEPS_RANGE else ()
    data = node.inputs[: len(node.inputs) - len(parameters)]
    return all(value in plan.integer for value in data) and all(array_of(value) is not None for value in parameters)


def _spans(
    plan: _Plan, learned: dict[str, Span], calibrate: Callable[[Sequence[str]], dict[str, Span]]
) -> dict[ir.Value, Span]:
    spans: dict[ir.Value, Span] = {}
    for value, root in plan.roots.items():
        span = learned.get(str(value.name))
        if span is not None:
            spans.setdefault(root, span)
    missing = [root for root in dict.fromkeys(plan.roots.values()) if root not in spans]
    found = calibrate([str(root.name) for root in missing])
    spans.update({root: found[str(root.name)] for root in missing})
    return {root: spans[root] for root in dict.fromkeys(plan.roots.values())}


def _largest(dtype: ir.DataType) -> float:
    return {ir.DataType.INT8: 127.0, ir.DataType.FLOAT8E4M3FN: 448.0}[dtype]


def _quantize_weights(graph: ir.Graph, layer: ir.Node, source: _Scale, per_channel: bool, preset: Preset) -> None:
    weight, axis = array_of(layer.inputs[1]), weight_axis(layer)
    bias = array_of(layer.inputs[2]) if len(layer.inputs) > 2 else None
    assert weight is not None
    axis %= weight.ndim
    if not preset.integer_bias:
        bias = None
    biases = np.broadcast_to(np.zeros(1) if bias is None else bias.ravel(), (weight.shape[axis],))
    # A channel of zeros, as pruning makes them, still needs a scale that its bias fits into.
    least = np.abs(biases) / (source.number * _BIAS_ROOM)
    integers, numbers = quantize_weight(weight, axis if per_channel else None, least if per_channel else least.max())
    if preset == FLOAT8:
        numbers = (numbers * np.float32(127 / _largest(preset.dtype))).astype(np.float32)
        spread = np.expand_dims(numbers, reduced_axes(weight.ndim, axis)) if per_channel else numbers
        integers = (weight / spread).astype(preset.dtype.numpy())
    scale = constant(graph, numbers)
    # Zero points are left out where that is understood, and so is the bias's scale, which is a product of two others
    # that the runtime folds when it loads the file: both only make it larger. A Gemm insists on its zero point.
    zero = [constant(graph, np.zeros(numbers.shape, integers.dtype))] if layer.op_type == "Gemm" else []
    axes = {"axis": axis} if per_channel else {}
    dequantized = ir.node("DequantizeLinear", [constant(graph, integers), scale, *zero], axes)
    nodes = [dequantized]
    layer.replace_input_with(1, dequantized.outputs[0])
    if bias is not None:
        steps = np.rint(biases / (source.number * numbers).astype(np.float32)).astype(np.int32)
        product = ir.node("Mul", [source.scale, scale])
        axes = {"axis": 0} if per_channel else {}
        nodes += [product, ir.node("DequantizeLinear", [constant(graph, steps), product.outputs[0]], axes)]
        layer.replace_input_with(2, nodes[-1].outputs[0])
    insert_first(graph, nodes)


def _quantize_value(graph: ir.Graph, value: ir.Value, scale: _Scale, plan: _Plan) -> None:
    # Where the producer gives int8, everyone gets it; else float users keep the exact value.
    quantized = {*plan.layers, *plan.between}
    users = [user for user, _ in value.uses() if value in plan.integer or user in quantized]
    quantize = ir.node("QuantizeLinear", [value, scale.scale, scale.zero])
    dequantize = ir.node("DequantizeLinear", [quantize.outputs[0], scale.scale, scale.zero])
    producer = value.producer()
    if producer is None:
        insert_first(graph, [quantize, dequantize])
    else:
        graph.insert_after(producer, [quantize, dequantize])
    replace_uses(value, dequantize.outputs[0], users)
    if value.is_graph_output() and value in plan.integer:
        _take_over_output(graph, value, dequantize.outputs[0])


def _take_over_output(graph: ir.Graph, old: ir.Value, new: ir.Value) -> None:
    index = next(index for index, output in enumerate(graph.outputs) if output is old)
    new.name, new.shape, new.type = old.name, old.shape, old.type
    old.name = f"{old.name}_float"
    graph.outputs[index] = new
