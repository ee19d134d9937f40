"""From a torch module to an ONNX graph, by either of torch's exporters, without a word on the terminal."""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
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
from autoshrink.models.splits import Split, forward

__all__ = ["EXPORTERS", "OPSET", "Traced", "input_names", "node_tag", "trace", "without_fast_paths"]

EXPORTERS = ("torchscript", "dynamo")
"""The order in which they are tried: the first takes 0.05 s where the second takes 1 to 7 s."""
OPSET = 21
_TORCHSCRIPT_OPSET = 20
_MARK = ("autoshrink", "Mark")
_TORCH = Path(torch.__file__).parent
# A user's forward() may raise any of these while it is traced, and so may the exporters.
_ERRORS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


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
            graph = ir.from_proto(exporting(_Positional(model, example.names).eval(), example, names, output))
    except _ERRORS as error:
        first = str(error).strip().partition("\n")[0]
        raise Refusal(f"torch's {exporter} exporter can't follow the model: {type(error).__name__}: {first}") from error
    graph.opset_imports[""] = max(graph.opset_imports[""], OPSET)
    for value in (*graph.graph.inputs, *graph.graph.outputs):
        if value.shape is not None and len(value.shape):
            value.shape = ir.Shape(["batch", *value.shape[1:]])
    doubts = (item for item in warned if issubclass(item.category, TracerWarning))
    return Traced(graph, _take_marks(graph), any(not Path(item.filename).is_relative_to(_TORCH) for item in doubts))


def node_tag(module: str) -> str:
    """Give what the name of a marked module's node begins with; the runtime adds to names when it fuses nodes."""
    return f"of[{module}]"


def input_names(model: nn.Module, example: Split) -> list[str]:
    """Name the graph's inputs as the dict's keys, or as the arguments of the model's forward."""
    if example.names:
        return list(example.names)
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(model.forward).parameters.values()
    names = [parameter.name for parameter in parameters if parameter.kind in positional][: len(example.inputs)]
    return names + [f"input_{index}" for index in range(len(names), len(example.inputs))]


class _Positional(nn.Module):
    """Calls a model as `forward` does, from positional tensors, which both exporters take."""

    def __init__(self, model: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model = model
        self.names = names

    def forward(self, *inputs: Tensor) -> Tensor:
        return forward(self.model, Split(inputs, None, self.names))


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
    """Keep both exporters from writing to the terminal, and collect their warnings."""
    loggers = [logging.getLogger(name) for name in ("torch", "torch.onnx")]
    levels = [logger.level for logger in loggers]
    nowhere = io.StringIO()
    with (
        warnings.catch_warnings(record=True) as warned,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        warnings.simplefilter("always")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        # The exporter switches this log on again by itself, and it goes past Python's streams.
        log, torch._C._jit_onnx_log = torch._C._jit_onnx_log, lambda *_: None
        try:
            yield warned
        finally:
            torch._C._jit_onnx_log = log
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextlib.contextmanager
def without_fast_paths() -> Iterator[None]:
    """Keep attention in plain operators: its fused path can't be exported."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


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
