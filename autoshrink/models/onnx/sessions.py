"""Sessions for work on graphs: run a model batch by batch, let the runtime simplify it, look at what it executes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as state

from autoshrink.core import Refusal

__all__ = ["Feed", "executed", "open_session", "probe", "simplify"]

Feed = Mapping[str, np.ndarray]

_ERRORS = (state.Fail, state.InvalidArgument, state.InvalidGraph, state.NotImplemented, state.RuntimeException)
_FATAL_ONLY = 4
LEVELS = {
    "disable": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


def open_session(
    model: ir.Model | bytes, level: str = "all", written: Path | None = None
) -> onnxruntime.InferenceSession:
    """Open a model on one thread of this machine's CPU.

    Args:
        model: the graph, or a file's content.
        level: how far the runtime may rewrite it.
        written: where to write the rewritten graph.

    Raises:
        Refusal: the runtime does not take the graph.
    """
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.graph_optimization_level = LEVELS[level]
    settings.log_severity_level = _FATAL_ONLY
    if written is not None:
        settings.optimized_model_filepath = str(written)
    content = model if isinstance(model, bytes) else ir.to_proto(model).SerializeToString()
    try:
        return onnxruntime.InferenceSession(content, settings, providers=["CPUExecutionProvider"])
    except _ERRORS as error:
        raise Refusal(f"ONNX Runtime does not take the exported graph: {error}") from error


def probe(
    model: ir.Model, feeds: Iterable[Feed], names: Sequence[str], level: str = "all"
) -> Iterator[list[np.ndarray]]:
    """Run a model on each feed and give any of its values, by name.

    Raises:
        Refusal: the runtime can't run it, such as on a batch of another size.
    """
    session = open_session(_with_outputs(model, names).SerializeToString(), level)
    inputs = {value.name for value in model.graph.inputs}
    computed = [name for name in names if name not in inputs]
    for feed in feeds:
        try:
            values = dict(zip(computed, session.run(computed, dict(feed)), strict=True)) if computed else {}
        except _ERRORS as error:
            raise Refusal(f"ONNX Runtime can't run the exported graph: {error}") from error
        yield [values[name] if name in values else feed[name] for name in names]


def simplify(model: ir.Model, keep: Sequence[str] = ()) -> ir.Model:
    """Let the runtime fold constants and batch norms and drop what does nothing, without touching the hardware.

    Args:
        model: the graph.
        keep: names of values that must survive under their name.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "basic.onnx"
        open_session(_with_outputs(model, keep).SerializeToString(), "basic", path)
        simple = ir.from_proto(onnx.load(path))
    while len(simple.graph.outputs) > len(model.graph.outputs):
        simple.graph.outputs.pop()
    return simple


def executed(content: bytes, level: str) -> dict[str, int]:
    """Count the operators, by type, that the runtime really executes on this machine."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "executed.onnx"
        open_session(content, level, path)
        nodes = onnx.load(path, load_external_data=False).graph.node
    counts: dict[str, int] = {}
    for node in nodes:
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
    return dict(sorted(counts.items()))


def _with_outputs(model: ir.Model, names: Sequence[str]) -> onnx.ModelProto:
    proto = ir.to_proto(model)
    have = {value.name for value in (*proto.graph.output, *proto.graph.input)}
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names) if name not in have)
    return proto
