"""Float inputs and outputs of a file of others, which a firmware leaves to its caller."""

from __future__ import annotations

from dataclasses import replace

from autoshrink.backends.cortex_m.graph import Graph

__all__ = ["without_float_edges"]


def without_float_edges(graph: Graph) -> Graph:
    """Take and give integers where the file quantizes a float input at once, and dequantizes its output at last.

    Returns:
        The graph itself where there is nothing to leave out.
    """
    dropped = []
    inputs, outputs = list(graph.inputs), list(graph.outputs)
    for op in graph.ops:
        given, made = op.inputs[0], op.outputs[0]
        if op.kind == "QUANTIZE" and given in inputs and graph.tensors[given].dtype == "float32":
            readers = [other for other in graph.ops if given in other.inputs]
            if len(readers) == 1:
                inputs[inputs.index(given)] = made
                dropped.append(op)
        elif op.kind == "DEQUANTIZE" and made in outputs:
            outputs[outputs.index(made)] = given
            dropped.append(op)
    if not dropped:
        return graph
    ops = tuple(op for op in graph.ops if op not in dropped)
    return replace(graph, ops=ops, inputs=tuple(inputs), outputs=tuple(outputs))
