"""The float export: a plain graph that agrees with torch, before anything is encoded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import onnx_ir as ir
import torch
from torch import nn

from autoshrink.core import Refusal
from autoshrink.models.agreement import check_agreement
from autoshrink.models.exporting import input_names
from autoshrink.models.onnx.layers import weights_of
from autoshrink.models.onnx.rewrite import fix_shapes, fold_norms, name_pooling
from autoshrink.models.onnx.sessions import Feed, probe, simplify
from autoshrink.models.onnx.tracing import (
    EXPORTERS,
    node_tag,
    trace,
)
from autoshrink.models.splits import Split

__all__ = ["Exported", "export_float", "feeds_of"]

_BATCHES = (2, 3)
_DOUBTFUL = 64
_BRANCHES = "where the model's own code branches on what a tensor holds, "


@dataclass(frozen=True)
class Exported:
    """A checked float graph.

    ``inputs_of`` names the value that each module of interest takes; ``layers`` are the nodes of those modules whose
    weights are of interest.
    """

    model: ir.Model
    example: Split
    names: tuple[str, ...]
    inputs_of: dict[str, str]
    layers: dict[str, ir.Node]
    exporter: str
    difference: float


def export_float(
    model: nn.Module, example: Split, examples: Split, modules: Iterable[str] = (), layers: Iterable[str] = ()
) -> Exported:
    """Export a module and check the graph against it, on a batch of one example and on one of three.

    Where the model's own code branches on what a tensor holds, the fast exporter would keep one branch only: then the
    other one is asked, and if that can't follow either, the fast one's graph has to agree on many examples.

    Args:
        model: in eval mode, on the CPU.
        example: one example.
        examples: real examples for the check; the one is repeated when there are none.
        modules: names of modules whose input value is wanted.
        layers: names of convolutions and linear layers whose node is wanted.

    Raises:
        Refusal: no exporter can follow the model, or the graph computes something else.
    """
    largest = max(_BATCHES)
    source = examples.rows(slice(0, largest)) if len(examples) >= largest else _repeat(example, largest)
    batches = [source.rows(slice(0, size)) for size in _BATCHES]
    names, modules, layers = tuple(input_names(model, example)), tuple(modules), tuple(layers)
    reasons: list[str] = []
    doubtful: Exported | None = None
    for exporter in EXPORTERS:
        doubt = ""
        try:
            traced = trace(model, batches[0], exporter, (*modules, *layers))
            doubt = _BRANCHES if traced.doubtful else ""
            inputs_of = {key: name for key, name in traced.inputs_of.items() if key in modules}
            plain = _plain(traced.model, inputs_of, batches, names)
            difference = _difference(plain, model, [example, batches[1]], names)
        except Refusal as refusal:
            reasons.append(f"{doubt}{refusal}")
            continue
        found = Exported(plain, example, names, inputs_of, _layers(plain, layers), exporter, difference)
        if not traced.doubtful:
            return found
        doubtful = found
    if doubtful is not None:
        try:
            _difference(doubtful.model, model, list(examples.rows(slice(0, _DOUBTFUL)).batches(1)), names)
        except Refusal as refusal:
            reasons.append(f"{_BRANCHES}{refusal}")
        else:
            return doubtful
    raise Refusal("; ".join(dict.fromkeys(reasons)))


def _layers(graph: ir.Model, modules: Iterable[str]) -> dict[str, ir.Node]:
    """Find the node of each module that has one, after the runtime fused others into it."""
    found = {}
    for module in modules:
        nodes = [item.node for item in weights_of(graph.graph) if (item.node.name or "").startswith(node_tag(module))]
        if len(nodes) == 1:
            found[module] = nodes[0]
    return found


def _plain(traced: ir.Model, inputs_of: Mapping[str, str], batches: list[Split], names: tuple[str, ...]) -> ir.Model:
    first, second = (dict(zip(names, batch.arrays(), strict=True)) for batch in batches)
    fix_shapes(traced, (first, second))
    plain = simplify(traced, [name for name in inputs_of.values() if name not in names])
    fold_norms(plain)
    name_pooling(plain)
    return plain


def feeds_of(split: Split, names: tuple[str, ...], size: int) -> Iterable[Feed]:
    """Walk through examples in batches, as inputs of a graph."""
    return (dict(zip(names, batch.arrays(), strict=True)) for batch in split.batches(size))


def _difference(graph: ir.Model, model: nn.Module, batches: list[Split], names: tuple[str, ...]) -> float:
    output = str(graph.graph.outputs[0].name)
    feeds = [dict(zip(names, batch.arrays(), strict=True)) for batch in batches]
    return check_agreement(model, batches, (given for (given,) in probe(graph, feeds, [output])))


def _repeat(example: Split, times: int) -> Split:
    return Split(tuple(torch.cat([tensor] * times) for tensor in example.inputs), None, example.names)
