"""Dynamic int8: fully connected layers and LSTMs in int8, with ranges of activations found while running.

Convolutions stay in float: the runtime's ConvInteger is 4 to 7 times slower than float. The runtime's own converter is
not used: it transposes a weight that two layers share once for each of them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import onnx_ir as ir

from autoshrink.core import Refusal
from autoshrink.models.onnx.graph import array_of, attribute, constant, drop_unused, replace_node
from autoshrink.models.onnx.integers import quantize_weight
from autoshrink.models.onnx.layers import is_plain_matmul

__all__ = ["encode_dynamic"]

_DOMAIN = "com.microsoft"


def encode_dynamic(model: ir.Model, per_channel: bool, kept: Collection[ir.Node] = ()) -> dict[str, int]:
    """Quantize the fully connected layers and LSTMs of a graph, in place.

    Args:
        model: a float graph.
        per_channel: a scale for each output of a layer, else one for all; an LSTM always has one.
        kept: layers that stay in float.

    Returns:
        How many layers were quantized, by operator.

    Raises:
        Refusal: there are none.
    """
    counts: dict[str, int] = {}
    for node in list(model.graph):
        if node in kept:
            continue
        if is_plain_matmul(node):
            replace_node(model.graph, node, _dynamic_matmul(model.graph, node, per_channel))
        elif _is_plain_lstm(node):
            _quantize_lstm(model.graph, node)
        else:
            continue
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
    if not counts:
        raise Refusal(
            "dynamic int8 finds no fully connected layer and no LSTM with constant weights "
            "(dynamic convolutions are several times slower than float and left out)"
        )
    drop_unused(model)
    return dict(sorted(counts.items()))


def _dynamic_matmul(graph: ir.Graph, node: ir.Node, per_channel: bool) -> ir.Node:
    weight = array_of(node.inputs[1])
    assert weight is not None
    columns = np.ascontiguousarray(weight.T if attribute(node, "transB", 0) else weight)
    integers, scale = quantize_weight(columns, 1 if per_channel else None)
    operands: list[ir.Value | None] = [node.inputs[0], constant(graph, integers), constant(graph, scale)]
    if len(node.inputs) > 2:
        bias = array_of(node.inputs[2])
        assert bias is not None
        operands += [None, constant(graph, np.array(np.broadcast_to(bias.ravel(), (columns.shape[1],))))]
    return ir.node("DynamicQuantizeMatMul", operands, domain=_DOMAIN)


def _is_plain_lstm(node: ir.Node) -> bool:
    if node.op_type != "LSTM" or node.domain == _DOMAIN or attribute(node, "layout", 0):
        return False
    return all(array is not None and array.dtype == np.float32 for array in map(array_of, node.inputs[1:3]))


def _quantize_lstm(graph: ir.Graph, node: ir.Node) -> None:
    packed: list[ir.Value] = []
    for value in node.inputs[1:3]:
        weight = array_of(value)
        assert weight is not None
        # Shape (directions, inputs, 4 × hidden); one scale for each direction.
        integers, scale = quantize_weight(np.ascontiguousarray(weight.transpose(0, 2, 1)), 0)
        zeros = np.zeros(len(scale), np.int8)
        packed += [constant(graph, array) for array in (integers, scale, zeros)]
    weights, weight_scale, weight_zero, recurrent, recurrent_scale, recurrent_zero = packed
    rest: Sequence[ir.Value | None] = [*node.inputs[3:], *[None] * (8 - len(node.inputs))]
    scales = [weight_scale, weight_zero, recurrent_scale, recurrent_zero]
    new = ir.node(
        "DynamicQuantizeLSTM",
        [node.inputs[0], weights, recurrent, *rest, *scales],
        {name: attr.value for name, attr in node.attributes.items() if name != "layout"},
        domain=_DOMAIN,
        num_outputs=len(node.outputs),
    )
    graph.insert_before(node, new)
    for old, output in zip(node.outputs, new.outputs, strict=True):
        name = old.name
        old.replace_all_uses_with(output, replace_graph_outputs=True)
        old.name, output.name = None, name
    graph.remove(node, safe=True)
