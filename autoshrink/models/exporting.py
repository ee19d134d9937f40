"""From a user's module to something that a runtime's converter takes, without a word on the terminal."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import io
import logging
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from autoshrink.core import Refusal
from autoshrink.models.agreement import without_fast_paths
from autoshrink.models.splits import Split, forward

if TYPE_CHECKING:
    from torch import fx
    from torch.export import ExportedProgram

__all__ = [
    "TRACING_ERRORS",
    "Positional",
    "export_program",
    "first_line",
    "input_names",
    "quiet",
    "structure_key",
    "without_logging",
]

TRACING_ERRORS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""A user's forward() may raise any of these while it is traced, and so may the exporters."""


class Positional(nn.Module):
    """Calls a model as `forward` does, from positional tensors, which every exporter takes."""

    def __init__(self, model: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model = model
        self.names = names

    def forward(self, *inputs: Tensor) -> Tensor:
        """Give the model's first output."""
        return forward(self.model, Split(inputs, None, self.names))


def input_names(model: nn.Module, example: Split) -> list[str]:
    """Name the inputs as the dict's keys, or as the arguments of the model's forward."""
    if example.names:
        return list(example.names)
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(model.forward).parameters.values()
    names = [parameter.name for parameter in parameters if parameter.kind in positional][: len(example.inputs)]
    return names + [f"input_{index}" for index in range(len(names), len(example.inputs))]


def export_program(model: nn.Module, example: Split) -> ExportedProgram:
    """Have torch.export follow a model; positional inputs, its one output is what `forward` gives.

    Args:
        model: in eval mode, on the CPU.
        example: the examples to trace with; their number is fixed in the program.

    Raises:
        Refusal: it can't.
    """
    try:
        with torch.no_grad(), quiet(), without_fast_paths():
            return torch.export.export(Positional(model, example.names).eval(), example.inputs, strict=False)
    except TRACING_ERRORS as error:
        raise Refusal(f"torch.export can't follow the model: {first_line(error)}") from error


def structure_key(graph: fx.Graph, formats: str) -> str:
    """Hash a traced graph's operators, shapes and number formats, without weights and scales."""
    lines = [formats]
    for node in graph.nodes:
        value = node.meta.get("val")
        shape = (tuple(value.shape), value.dtype) if isinstance(value, Tensor) else ""
        whole = [item for item in node.args if not isinstance(item, float)]
        lines.append(f"{node.name} {node.target} {whole if node.op == 'call_function' else ''} {shape}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def first_line(error: Exception) -> str:
    """Give an error's kind and the first line of its message."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


@contextlib.contextmanager
def quiet() -> Iterator[list[warnings.WarningMessage]]:
    """Keep exporters from writing to the terminal, and collect their warnings; what they can't do is in a refusal."""
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
        try:
            yield warned
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextlib.contextmanager
def without_logging() -> Iterator[None]:
    """Keep every logger silent, those of packages that are imported meanwhile too."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
