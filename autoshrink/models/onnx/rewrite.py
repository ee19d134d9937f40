"""Make an exported graph plain: constant shapes, folded batch norms, pooling as pooling."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from autoshrink.models.onnx.graph import array_of, attribute, constant, constant_of, drop_unused
from autoshrink.models.onnx.sessions import Feed, probe

__all__ = ["fix_shapes", "fold_norms", "name_pooling"]

_RECURRENT = ("GRU", "LSTM", "RNN")
_INITIAL_STATES = (5, 6)


def fix_shapes(model: ir.Model, feeds: tuple[Feed, Feed]) -> None:
    """Replace what the graph computes from shapes by constants, where the batch size has no part in it.

    Exporters write shape arithmetic into the graph, of attention above all, that costs a small model much of its
    time. Two batch sizes tell what depends on the batch: a value that is the same for both is a constant, and a shape
    that differs in one dimension is written with -1 there.

    Args:
        model: the graph, changed in place.
        feeds: inputs of two batch sizes above 1.
    """
    computed = list(_computed_from_shapes(model.graph))
    reshapes = [n for n in model.graph if n.op_type == "Reshape" and n.inputs[1] in computed]
    states = [(n, i) for n in model.graph if n.op_type in _RECURRENT for i in _INITIAL_STATES[: len(n.inputs) - 5]]
    frontier = [v for v in computed if any(not set(node.outputs) & set(computed) for node, _ in v.uses())]
    names = [str(value.name) for value in (*frontier, *(node.outputs[0] for node in reshapes))]
    if not names:
        return
    first, second = (dict(zip(names, values, strict=True)) for values in probe(model, feeds, names, "disable"))
    for node in reshapes:
        name = str(node.outputs[0].name)
        before, after = first[name].shape, second[name].shape
        if len(before) == len(after) and sum(a != b for a, b in zip(before, after, strict=True)) <= 1:
            shape = [a if a == b else -1 for a, b in zip(before, after, strict=True)]
            node.replace_input_with(1, constant(model.graph, np.array(shape, np.int64)))
    zeros = {value for value in frontier if not first[str(value.name)].any() and not second[str(value.name)].any()}
    for node, index in states:
        if node.inputs[index] in zeros:
            node.replace_input_with(index, None)  # the default
    for value in frontier:
        name = str(value.name)
        if np.array_equal(first[name], second[name]):
            value.replace_all_uses_with(constant(model.graph, first[name]))
    drop_unused(model)


def _computed_from_shapes(graph: ir.Graph) -> Iterator[ir.Value]:
    known: set[ir.Value] = set(graph.initializers.values())
    for node in graph:
        inputs = [value for value in node.inputs if value is not None]
        constant_node = node.op_type == "Constant"
        if constant_node or node.op_type == "Shape" or (inputs and all(value in known for value in inputs)):
            if any(attr.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for attr in node.attributes.values()):
                continue
            known.update(node.outputs)
            if not constant_node:
                yield from node.outputs


def fold_norms(model: ir.Model) -> None:
    """Fold batch norms into the fully connected layers before them; the runtime folds those after convolutions."""
    for norm in [node for node in model.graph if node.op_type == "BatchNormalization"]:
        value = norm.inputs[0]
        layer = value.producer() if value is not None else None
        if layer is None or layer.op_type != "Gemm" or len(layer.outputs[0].uses()) != 1:
            continue
        if attribute(layer, "beta", 1.0) != 1.0 or layer.outputs[0].is_graph_output():
            continue
        weight, *rest = [array_of(item) for item in (*layer.inputs[1:], *norm.inputs[1:])]
        bias = rest[0] if len(layer.inputs) > 2 else np.zeros((), np.float32)
        if weight is None or any(item is None for item in rest):
            continue
        scale, shift, mean, variance = (np.asarray(item) for item in rest[-4:])
        factor = scale / np.sqrt(variance + attribute(norm, "epsilon", 1e-5))
        columns = factor[:, None] if attribute(layer, "transB", 0) else factor
        folded = (np.asarray(bias) - mean) * factor + shift
        layer.replace_input_with(1, constant(model.graph, (weight * columns).astype(np.float32)))
        layer.resize_inputs(3)
        layer.replace_input_with(2, constant(model.graph, folded.astype(np.float32)))
        norm.outputs[0].replace_all_uses_with(layer.outputs[0], replace_graph_outputs=True)
        model.graph.remove(norm, safe=True)
    drop_unused(model)


def name_pooling(model: ir.Model) -> None:
    """Write a mean over all positions of an image or a sequence of channels as the pooling that it is."""
    means = [node for node in model.graph if node.op_type == "ReduceMean"]
    if means:
        ShapeInferencePass()(model)
    for node in means:
        value, axes = node.inputs[0], constant_of(node, 1)
        rank = len(value.shape) if value is not None and value.shape is not None else 0
        if value is None or axes is None or rank < 3:
            continue
        if sorted(axis % rank for axis in axes.ravel().tolist()) != list(range(2, rank)):
            continue
        new = [ir.node("GlobalAveragePool", [value])]
        if not attribute(node, "keepdims", 1):
            new.append(ir.node("Flatten", [new[0].outputs[0]], {"axis": 1}))
        old = node.outputs[0]
        model.graph.insert_before(node, new)
        name, shape = old.name, old.shape
        old.replace_all_uses_with(new[-1].outputs[0], replace_graph_outputs=True)
        model.graph.remove(node, safe=True)
        new[-1].outputs[0].name, new[-1].outputs[0].shape, new[-1].outputs[0].dtype = name, shape, ir.DataType.FLOAT
    drop_unused(model)
