"""An int8 ``.tflite`` file, made by anyone, as a graph."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from autoshrink.backends.cortex_m.flatbuffer import Table, root
from autoshrink.backends.cortex_m.graph import BITS, DType, Graph, Op, Tensor
from autoshrink.backends.cortex_m.tflite_schema import OPERATORS, TYPES, options
from autoshrink.core import Refusal, SpecError

__all__ = ["read_tflite"]

_ADDRESS_SPACE = 2**32
_NUMPY = {"uint8": "<u1", "int8": "<i1", "int16": "<i2", "int32": "<i4", "int64": "<i8", "float32": "<f4"}
_RECURRENT = ("LSTM", "RNN", "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN")


def read_tflite(model: bytes | Path, name: str | None = None) -> Graph:
    """Read a ``.tflite`` file.

    Args:
        model: the file, or its content.
        name: what to call it in messages.

    Raises:
        SpecError: it is no ``.tflite`` file, is damaged, or contradicts itself.
        Refusal: it holds what can't run on a microcontroller here: floats, an operator without a kernel, control flow.
    """
    source = name or (str(model) if isinstance(model, Path) else "model.tflite")
    try:
        content = model.read_bytes() if isinstance(model, Path) else model
    except OSError as error:
        raise SpecError(f"{source}: {error.strerror or error}") from error
    if len(content) < 8 or content[4:8] != b"TFL3":
        raise SpecError(f"{source}: not a .tflite file (it does not carry the identifier TFL3)")
    file = root(content, source)
    subgraphs = file.tables(2)
    if not subgraphs:
        raise SpecError(f"{source}: the file holds no graph")
    if len(subgraphs) > 1:
        raise Refusal(f"{source}: {len(subgraphs)} subgraphs; control flow can't be compiled for a microcontroller")
    graph, buffers = subgraphs[0], file.tables(4)
    tensors = tuple(_tensor(table, buffers, source) for table in graph.tables(0))
    ops = tuple(_operator(table, file.tables(1), len(tensors), source) for table in graph.tables(3))
    inputs, outputs = graph.integers(1), graph.integers(2)
    if not ops or not inputs or not outputs:
        raise SpecError(f"{source}: a graph needs operators, inputs and outputs")
    if any(not 0 <= index < len(tensors) for index in (*inputs, *outputs)):
        raise SpecError(f"{source}: an input or output of the graph is not one of its {len(tensors)} tensors")
    read = Graph(tensors, ops, inputs, outputs)
    _check_integers(read, source)
    _check_order(read, source)
    return read


def _tensor(table: Table, buffers: list[Table], source: str) -> Tensor:
    name, shape = table.text(3), table.integers(0)
    code = table.integer(1, "b")
    dtype = TYPES.get(code)
    if dtype is None:
        raise Refusal(f"{source}: tensor {name!r} has the element type {code}, which no kernel takes")
    if any(size < 0 for size in shape):
        raise Refusal(f"{source}: tensor {name!r} has no fixed shape: {shape}")
    if math.prod(shape) * BITS[dtype] // 8 >= _ADDRESS_SPACE:
        raise Refusal(
            f"{source}: tensor {name!r} of shape {shape} is larger than the 4 GiB that a microcontroller can address"
        )
    if any(size == 0 for size in shape):
        raise SpecError(f"{source}: tensor {name!r} of shape {shape} is empty")
    if table.table(6) is not None:
        raise Refusal(f"{source}: tensor {name!r} is stored in TFLite's sparse format, which is not read")
    scales, zero_points, axis = _quantization(table, name, shape, source)
    number = table.integer(2, "I")
    if number >= len(buffers):
        raise SpecError(f"{source}: tensor {name!r} refers to buffer {number} of {len(buffers)}")
    data = _constant(buffers[number], name, shape, dtype, source)
    return Tensor(name, shape, dtype, scales, zero_points, axis, data)


def _quantization(
    table: Table, name: str, shape: tuple[int, ...], source: str
) -> tuple[tuple[float, ...], tuple[int, ...], int]:
    found = table.table(4)
    if found is None:
        return (), (), 0
    scales = tuple(float(scale) for scale in found.numbers(2, "f"))
    zero_points, axis = found.integers(3, "q"), found.integer(6)
    if found.integer(4, "B") != 0:
        raise Refusal(f"{source}: tensor {name!r} is quantized in another way than by scales and zero points")
    if any(not (math.isfinite(scale) and scale > 0) for scale in scales):
        raise SpecError(f"{source}: a scale of tensor {name!r} is not a positive number")
    if scales and not zero_points:
        zero_points = (0,) * len(scales)
    if len(scales) != len(zero_points):
        raise SpecError(f"{source}: tensor {name!r} has {len(scales)} scales and {len(zero_points)} zero points")
    if len(scales) > 1 and not (0 <= axis < len(shape) and shape[axis] == len(scales)):
        raise SpecError(f"{source}: tensor {name!r} of shape {shape} has {len(scales)} scales on dimension {axis}")
    return scales, zero_points, axis


def _constant(buffer: Table, name: str, shape: tuple[int, ...], dtype: DType, source: str) -> np.ndarray | None:
    if buffer.integer(1, "Q") > 1:
        raise Refusal(f"{source}: tensor {name!r} is stored outside the FlatBuffer, which is not read")
    raw, size = buffer.data(0), math.prod(shape)
    if not raw:
        return None
    expected = (size * BITS[dtype] + 7) // 8
    if len(raw) != expected:
        raise SpecError(f"{source}: tensor {name!r} of shape {shape} needs {expected} bytes and has {len(raw)}")
    if dtype == "int4":
        packed = np.frombuffer(raw, np.uint8)
        nibbles = np.stack((packed & 15, packed >> 4), axis=1).reshape(-1)[:size].astype(np.int8)
        return ((nibbles ^ 8) - 8).reshape(shape)
    return np.frombuffer(raw, _NUMPY[dtype]).reshape(shape)


def _operator(table: Table, codes: list[Table], tensors: int, source: str) -> Op:
    number = table.integer(0, "I")
    if number >= len(codes):
        raise SpecError(f"{source}: an operator refers to code {number} of {len(codes)}")
    # Files from before 2020 have the code in a field of one byte.
    code = max(codes[number].integer(0, "b"), codes[number].integer(3))
    kind = OPERATORS.get(code, f"number {code}")
    settings = table.table(4)
    known = options(kind, settings)
    if known is None:
        custom = codes[number].text(1)
        what = f"custom operator {custom!r}" if custom else f"operator {kind}"
        hint = "; unroll the recurrence or use a convolutional network" if kind in _RECURRENT else ""
        raise Refusal(f"{source}: {what} has no kernel here{hint}")
    inputs, outputs = table.integers(1), table.integers(2)
    if any(not -1 <= index < tensors for index in inputs) or any(not 0 <= index < tensors for index in outputs):
        raise SpecError(f"{source}: an operand of {kind} is not one of the graph's {tensors} tensors")
    if not inputs or inputs[0] < 0:
        raise SpecError(f"{source}: {kind} has no input")
    if len(outputs) != 1:
        raise SpecError(f"{source}: {kind} has {len(outputs)} outputs instead of 1")
    if known.get("activation") == "unknown":
        raise Refusal(f"{source}: {kind} has an activation function that has no kernel here")
    return Op(kind, inputs, outputs, known)


def _check_integers(graph: Graph, source: str) -> None:
    """Refuse floats between operators; a float input that is quantized at once is the caller's business."""
    edges = {op.outputs[0] for op in graph.ops if op.kind == "DEQUANTIZE"}
    edges |= {op.inputs[0] for op in graph.ops if op.kind == "QUANTIZE" and op.inputs[0] in graph.inputs}
    used = {index for op in graph.ops for index in (*op.inputs, *op.outputs) if index >= 0}
    for index in sorted(used):
        tensor = graph.tensors[index]
        if tensor.dtype == "float32" and index not in edges:
            raise Refusal(
                f"{source}: tensor {tensor.name!r} holds floats; only a network of int8 runs here: quantize it first"
            )


def _check_order(graph: Graph, source: str) -> None:
    known = set(graph.inputs) | {i for i, tensor in enumerate(graph.tensors) if tensor.data is not None} | {-1}
    for op in graph.ops:
        for index in op.inputs:
            if index not in known:
                tensor = graph.tensors[index]
                raise SpecError(f"{source}: {op.kind} reads tensor {tensor.name!r} before anything wrote it")
        if known.intersection(op.outputs):
            raise SpecError(f"{source}: two operators write tensor {graph.tensors[op.outputs[0]].name!r}")
        known.update(op.outputs)
    for index in graph.outputs:
        if index not in known:
            raise SpecError(f"{source}: nothing writes the output {graph.tensors[index].name!r}")
