"""From a torch module to an ONNX graph, by either of torch's exporters, without a word on the terminal."""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import torch
from torch import Tensor, nn
from torch.jit._trace import TracerWarning

from autoshrink.core import Refusal
from autoshrink.models.agreement import without_fast_paths
from autoshrink.models.exporting import TRACING_ERRORS, Positional, first_line, input_names, quiet
from autoshrink.models.splits import Split

__all__ = ["EXPORTERS", "OPSET", "Traced", "node_tag", "trace"]

EXPORTERS = ("torchscript", "dynamo")
"""The order in which they are tried: the first takes 0.05 s where the second takes 1 to 7 s."""
OPSET = 21
_TORCHSCRIPT_OPSET = 20
_MARK = ("autoshrink", "Mark")
_TORCH = Path(torch.__file__).parent


@dataclass(frozen=True)
class Traced:
    """A graph as the exporter wrote it."""

    model: ir.Model
    inputs_of: dict[str, str]
    """The value that is the first input of each marked module that was called as a module.

    The nodes that take it inside of the module have the module's name in their own; see `node_tag`."""
    doubtful: bool
    """Whether the model's own code asked for a tensor's content, so that the trace may hold for some examples only."""


def trace(model: nn.Module, example: Split, exporter: str, marked: Iterable[str] = ()) -> Traced:
    """Export a module with a free batch dimension; its one output is what `forward` gives.

    Args:
        model: in eval mode, on the CPU.
        example: two or more examples.
        exporter: one of `EXPORTERS`.
        marked: names of modules whose input is looked for in the graph.

    Raises:
        Refusal: the exporter can't follow the model.
    """
    names = input_names(model, example)
    output = "output" if "output" not in names else "output_0"
    exporting = _by_torchscript if exporter == "torchscript" else _by_dynamo
    try:
        with without_fast_paths(), _marks(model, frozenset(marked), exporter), torch.no_grad(), _quiet() as warned:
            graph = ir.from_proto(exporting(Positional(model, example.names).eval(), example, names, output))
    except TRACING_ERRORS as error:
        raise Refusal(f"torch's {exporter} exporter can't follow the model: {first_line(error)}") from error
    graph.opset_imports[""] = max(graph.opset_imports[""], OPSET)
    for value in (*graph.graph.inputs, *graph.graph.outputs):
        if value.shape is not None and len(value.shape):
            value.shape = ir.Shape(["batch", *value.shape[1:]])
    doubts = (item for item in warned if issubclass(item.category, TracerWarning))
    return Traced(graph, _take_marks(graph), any(not Path(item.filename).is_relative_to(_TORCH) for item in doubts))


def node_tag(module: str) -> str:
    """Give what the name of a marked module's node begins with; the runtime adds to names when it fuses nodes."""
    return f"of[{module}]"


def _by_torchscript(model: nn.Module, example: Split, names: list[str], output: str) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "traced.onnx"
        torch.onnx.export(
            model,
            example.inputs,
            path,
            dynamo=False,
            opset_version=_TORCHSCRIPT_OPSET,
            input_names=names,
            output_names=[output],
            dynamic_axes={name: {0: "batch"} for name in (*names, output)},
        )
        return onnx.load(path)


def _by_dynamo(model: nn.Module, example: Split, names: list[str], output: str) -> onnx.ModelProto:
    program = torch.onnx.export(
        model,
        example.inputs,
        dynamo=True,
        opset_version=OPSET,
        input_names=names,
        output_names=[output],
        dynamic_shapes=(tuple({0: torch.export.Dim.DYNAMIC} for _ in names),),
        verbose=False,
    )
    if program is None:
        raise RuntimeError("the exporter gave no graph")
    return program.model_proto


@contextlib.contextmanager
def _quiet() -> Iterator[list[warnings.WarningMessage]]:
    """Keep both exporters quiet: one switches a log of its own on again by itself, past Python's streams."""
    log, torch._C._jit_onnx_log = torch._C._jit_onnx_log, lambda *_: None
    try:
        with quiet() as warned:
            yield warned
    finally:
        torch._C._jit_onnx_log = log


class _Mark(torch.autograd.Function):
    """Does nothing, and is a node of the graph that names a module."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, module: str) -> Tensor:
        return tensor.view_as(tensor)

    @staticmethod
    def symbolic(graph: Any, tensor: Any, module: str) -> Any:
        return graph.op("::".join(_MARK), tensor, module_s=module).setType(tensor.type())


@contextlib.contextmanager
def _marks(model: nn.Module, marked: frozenset[str], exporter: str) -> Iterator[None]:
    def hook_for(name: str) -> Any:
        def hook(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
            if not arguments or not isinstance(arguments[0], Tensor):
                return None
            tensor = arguments[0]
            if exporter == "torchscript":
                return (_Mark.apply(tensor, name), *arguments[1:])  # type: ignore[no-untyped-call]
            node = torch.onnx.ops.symbolic(
                "::".join(_MARK), (tensor,), {"module": name}, dtype=tensor.dtype, shape=tensor.shape, version=1
            )
            return (node, *arguments[1:])

        return hook

    handles = [m.register_forward_pre_hook(hook_for(name)) for name, m in model.named_modules() if name in marked]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _take_marks(graph: ir.Model) -> dict[str, str]:
    found: dict[str, str] = {}
    for node in list(graph.graph):
        if (node.domain, node.op_type) == _MARK:
            value = node.inputs[0]
            assert value is not None
            module = node.attributes["module"].as_string()
            found[module] = str(value.name)
            for number, (user, _) in enumerate(node.outputs[0].uses()):
                user.name = f"{node_tag(module)}{number}"
            node.outputs[0].replace_all_uses_with(value, replace_graph_outputs=True)
            graph.graph.remove(node, safe=True)
    graph.opset_imports.pop(_MARK[0], None)
    return found
