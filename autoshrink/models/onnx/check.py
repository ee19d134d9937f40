"""ONNX files that anyone may have made, looked at before anything allocates what they declare or follows paths."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
from google.protobuf.message import DecodeError

from autoshrink.core import SpecError

__all__ = ["check_file", "load_model"]

_LARGEST_FILE = 2**31
"""Bytes that a protocol buffer can have."""
_LARGEST_TENSOR = 2**36
"""Bytes (64 GiB) above which a tensor is a mistake or an attack, wherever it is."""
_MOST_DIMENSIONS = 64
_BITS = {
    **dict.fromkeys(("INT2", "UINT2"), 2),
    **dict.fromkeys(("INT4", "UINT4", "FLOAT4E2M1"), 4),
    **dict.fromkeys(("FLOAT6E2M3", "FLOAT6E3M2"), 6),
    **dict.fromkeys(("UINT8", "INT8", "BOOL", "FLOAT8E4M3FN", "FLOAT8E4M3FNUZ"), 8),
    **dict.fromkeys(("FLOAT8E5M2", "FLOAT8E5M2FNUZ", "FLOAT8E8M0"), 8),
    **dict.fromkeys(("UINT16", "INT16", "FLOAT16", "BFLOAT16"), 16),
    **dict.fromkeys(("FLOAT", "INT32", "UINT32"), 32),
    **dict.fromkeys(("INT64", "UINT64", "DOUBLE", "COMPLEX64"), 64),
    "COMPLEX128": 128,
    "STRING": 8,  # or more: a text's length is its own
}
_PLACE = {"offset", "length"}
_LONGEST_NAME, _SHOWN = 80, 8


def load_model(path: Path) -> onnx.ModelProto:
    """Read a file's graph, without the data that it keeps in other files.

    Raises:
        SpecError: it can't be read, or is no ONNX file.
    """
    try:
        size = path.stat().st_size
        if size > _LARGEST_FILE:
            raise SpecError(f"{path}: has {size} bytes; an ONNX file has at most {_LARGEST_FILE}")
        content = path.read_bytes()
    except OSError as error:
        raise SpecError(f"{path}: can't be read: {error.strerror or error}") from None
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError:
        raise SpecError(f"{path}: is no ONNX file, or is cut off or damaged") from None
    if not model.HasField("graph"):
        raise SpecError(f"{path}: is no ONNX file: it holds no graph")
    return model


def check_file(path: Path) -> tuple[Path, ...]:
    """Check the tensors that a file declares, and where it keeps their data.

    Returns:
        The files of external data, which lie beside it.

    Raises:
        SpecError: it is no ONNX file; a tensor is larger than anything has room for, or is not what is stored of it; or
            data are said to be in a file that does not lie beside it.
    """
    model = load_model(path)
    for value in _values(model):
        _check_declared(value, path)
    outside: dict[Path, None] = {}
    for tensor in _tensors(model):
        size = _bytes(tensor.dims, tensor.data_type, _named("tensor", tensor.name), path)
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            outside[_external(tensor, size, path)] = None
        else:
            _check_stored(tensor, size, path)
    return tuple(outside)


def _graphs(model: onnx.ModelProto) -> Iterator[onnx.GraphProto | onnx.FunctionProto]:
    waiting: list[onnx.GraphProto | onnx.FunctionProto] = [model.graph, *model.functions]
    waiting += [graph for info in model.training_info for graph in (info.initialization, info.algorithm)]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                waiting += [attribute.g] if attribute.HasField("g") else []
                waiting += attribute.graphs


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    for graph in _graphs(model):
        if isinstance(graph, onnx.GraphProto):
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors
                sparse_ones = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
                for sparse in (*sparse_ones, *attribute.sparse_tensors):
                    yield from (sparse.values, sparse.indices)


def _values(model: onnx.ModelProto) -> Iterator[onnx.ValueInfoProto]:
    for graph in _graphs(model):
        if isinstance(graph, onnx.GraphProto):
            yield from (*graph.input, *graph.output, *graph.value_info)


def _check_declared(value: onnx.ValueInfoProto, path: Path) -> None:
    kind = value.type.tensor_type
    if value.type.HasField("tensor_type") and kind.HasField("shape"):
        free = [dim.dim_value if dim.HasField("dim_value") else 1 for dim in kind.shape.dim]
        _bytes(free, kind.elem_type or onnx.TensorProto.UINT8, _named("value", value.name), path)


def _bytes(dims: Sequence[int], kind: int, what: str, path: Path) -> int:
    """Give the bytes of a tensor.

    Raises:
        SpecError: it can't be any tensor's.
    """
    bits = _BITS.get(onnx.TensorProto.DataType.Name(kind) if kind in onnx.TensorProto.DataType.values() else "")
    if bits is None:
        raise SpecError(f"{path}: {what} has an unknown number format ({kind})")
    if len(dims) > _MOST_DIMENSIONS:
        raise SpecError(f"{path}: {what} has {len(dims)} dimensions")
    if any(size < 0 for size in dims):
        raise SpecError(f"{path}: {what} has a negative dimension: {_shape(dims)}")
    size = (math.prod(dims) * bits + 7) // 8
    if size > _LARGEST_TENSOR:
        raise SpecError(f"{path}: {what} of shape {_shape(dims)} would take {size / 2**30:.3g} GiB")
    return size


def _check_stored(tensor: onnx.TensorProto, size: int, path: Path) -> None:
    if tensor.HasField("raw_data"):
        unit, has, wanted = "bytes", len(tensor.raw_data), size
    else:
        # Integers narrower than a byte are packed, and a complex number is two.
        fields = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
        unit, has = "numbers", sum(len(getattr(tensor, field)) for field in fields)
        kind, count = onnx.TensorProto.DataType.Name(tensor.data_type), math.prod(tensor.dims)
        wanted = 2 * count if "COMPLEX" in kind else size if _BITS[kind] < 8 else count
    if has != wanted:
        shape, what = _shape(tensor.dims), _named("tensor", tensor.name)
        raise SpecError(f"{path}: {what} of shape {shape} needs {wanted} {unit}, and has {has}")


def _external(tensor: onnx.TensorProto, size: int, path: Path) -> Path:
    what = _named("tensor", tensor.name)
    said = {entry.key: entry.value for entry in tensor.external_data}
    location = said.get("location", "")
    plain = PurePosixPath(location).name == location == PureWindowsPath(location).name
    if not plain or location in ("", ".", "..") or "\0" in location:
        raise SpecError(f"{path}: {what} has its data in {location!r}; only a file beside the model is read")
    file = path.parent / str(location)
    if file.is_symlink():
        raise SpecError(f"{path}: {what} has its data in {location!r}, which is a link: only a file itself is read")
    if not file.is_file():
        raise SpecError(f"{path}: {what} has its data in {location!r}, and there is no such file beside the model")
    numbers = {key: said[key] for key in _PLACE & set(said)}
    if not all(text.isascii() and text.isdigit() and len(text) < 20 for text in numbers.values()):
        raise SpecError(f"{path}: {what} says no proper place in {location!r}: {numbers}")
    offset, there = int(numbers.get("offset", 0)), file.stat().st_size
    length = int(numbers.get("length", there - offset))
    if length != size or offset + length > there:
        raise SpecError(
            f"{path}: {what} needs {size} bytes; said are {length} bytes at {offset} of {location!r}, which has {there}"
        )
    return file


def _named(what: str, name: str) -> str:
    shown = repr(name[:_LONGEST_NAME])  # protobuf gives bytes where a name is no UTF-8
    return f"{what} {shown}" + ("…" if len(name) > _LONGEST_NAME else "")


def _shape(dims: Sequence[int]) -> str:
    return str(list(dims)) if len(dims) <= _SHOWN else f"{list(dims[:_SHOWN])} and {len(dims) - _SHOWN} more"
