"""Loads a target's ONNX file: translated, and then compared with what ONNX Runtime computes of the same file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from autoshrink.core import SpecError, nearest
from autoshrink.models.from_onnx.building import BATCHES
from autoshrink.models.from_onnx.reading import Graph, NotTranslatedError, read_graph
from autoshrink.models.from_onnx.translate import OnnxModel, argument_names, translate
from autoshrink.models.splits import Split, forward
from autoshrink.models.user_code import UserCode

__all__ = ["load_onnx"]

_AT = ("model",)
_RELATIVE, _ABSOLUTE = 1e-3, 1e-4
_FATAL_ONLY = 4
_LONGEST = 400
"""Letters that are told of a reason."""
_INSTEAD = "or name a function that builds the model, FILE.py:FUNCTION"


def load_onnx(name: str, split: Split, code: UserCode) -> OnnxModel:
    """Load an ONNX file as a module of torch's layers, which takes any number of examples.

    Args:
        name: the file as the target names it.
        split: examples, by which shapes are followed and the module is compared with the file.
        code: the target's folder, for errors.

    Raises:
        SpecError: the file is damaged, holds an operator that can't be translated, doesn't take the data, or the module
            computes something else.
    """
    path = code.path(name, _AT)
    try:
        # Whatever the file makes torch or the runtime raise is the file's fault, and is told as such.
        with code.guard(_AT, f"{name} can't be rebuilt of torch layers ({_INSTEAD})"):
            model = _try_load(path, split)
    except SpecError as error:
        # What is wrong with the file itself names it alone: the target's line is put before it.
        if not str(error).startswith(f"{path}: "):
            raise
        raise code.source.error(_AT, str(error).replace(f"{path}: ", f"{name} ", 1)) from None
    if isinstance(model, NotTranslatedError):
        # Operators and values have the names that the file gives them, which may be no text.
        said = "".join(letter if letter.isprintable() else "?" for letter in str(model)[:_LONGEST])
        raise code.source.error(_AT, f"{name} can't be rebuilt of torch layers: {said}; {_INSTEAD}")
    return model


def _try_load(path: Path, split: Split) -> OnnxModel | NotTranslatedError:
    try:
        graph = read_graph(path)
        columns = _columns(graph, split)
        model = translate(graph, [(column[: BATCHES[0]], column) for column in columns])
        _check(model, graph, path, columns)
    except NotTranslatedError as error:
        return error
    return model


def _columns(graph: Graph, split: Split) -> list[Tensor]:
    """Give a few examples of each input, in the file's order."""
    if len(split.inputs) != len(graph.inputs):
        has = ", ".join(repr(item.name) for item in graph.inputs)
        raise NotTranslatedError(f"it has the inputs {has}, and the data have {len(split.inputs)}")
    given = list(range(len(split.inputs)))
    if split.names:
        names = argument_names(graph)
        for name in split.names:
            if name not in names:
                raise NotTranslatedError(f"it has no input {name!r}, as the data have; {nearest(name, names)}")
        given = [split.names.index(name) for name in names]
    rows = torch.arange(max(BATCHES)) % len(split)
    columns = [split.inputs[at][rows] for at in given]
    for item, column in zip(graph.inputs, columns, strict=True):
        if (np.issubdtype(item.dtype, np.floating), item.dtype is np.bool_) != (
            column.is_floating_point(),
            column.dtype == torch.bool,
        ):
            shown = str(column.dtype).removeprefix("torch.")
            raise NotTranslatedError(f"its input {item.name!r} is {item.dtype.__name__}, and the data are {shown}")
    return columns


def _check(model: OnnxModel, graph: Graph, path: Path, columns: list[Tensor]) -> None:
    rows = torch.arange(graph.batch or len(columns[0])) % len(columns[0])
    chosen = [column[rows] for column in columns]
    if problem := _difference(_outputs(model, chosen), _run(path, graph, chosen)):
        raise NotTranslatedError(f"the module does not compute what ONNX Runtime computes of the file: {problem}")
    if graph.batch is None:
        return
    one_by_one = [_outputs(model, [column[at : at + 1] for column in columns]) for at in range(len(columns[0]))]
    if problem := _difference(_outputs(model, columns), np.concatenate(one_by_one)):
        raise NotTranslatedError(
            f"it mixes the examples of a batch, as it is fixed to {graph.batch}: export it with a free one ({problem})"
        )


def _outputs(model: OnnxModel, columns: list[Tensor]) -> np.ndarray:
    with torch.no_grad():
        return forward(model, Split(tuple(columns))).numpy()


def _run(path: Path, graph: Graph, columns: list[Tensor]) -> np.ndarray:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.log_severity_level = _FATAL_ONLY
    feed = {item.name: column.numpy().astype(item.dtype) for item, column in zip(graph.inputs, columns, strict=True)}
    session = onnxruntime.InferenceSession(
        str(path), settings, providers=["CPUExecutionProvider"], enable_fallback=0
    )  # fmt: skip
    return np.asarray(session.run([graph.outputs[0]], feed)[0])


def _difference(given: np.ndarray, wanted: np.ndarray) -> str:
    if given.shape != wanted.shape:
        return f"outputs of shape {given.shape}, not {wanted.shape}"
    if np.allclose(given, wanted, _RELATIVE, _ABSOLUTE * max(1.0, float(np.abs(wanted).max(initial=0)))):
        return ""
    return f"outputs differ by up to {np.abs(given - wanted).max():.3g}"
