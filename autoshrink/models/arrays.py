"""NumPy's files that another process or machine wrote: sizes are checked first, and nothing is unpickled."""

from __future__ import annotations

import ast
import math
import re
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from autoshrink.core import SpecError
from autoshrink.core.archives import BROKEN, BadArchiveError, check_members

__all__ = ["read_array", "read_arrays"]

_MOST = 1 << 33
"""Bytes of all arrays of one file."""
_START = 12
_VERSIONS = {b"\x93NUMPY" + bytes([number]) for number in (1, 2, 3)}
_LONGEST_HEADER = 10_000
_TYPE = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f(?:2|4|8)|c(?:8|16))")
_WRONG = (*BROKEN, AttributeError, TypeError, LookupError, SyntaxError, RecursionError, MemoryError)
"""What reading a header that makes no sense may raise."""


def read_array(path: Path) -> np.ndarray:
    """Read an ``.npy`` file.

    Raises:
        SpecError: it is none, is damaged, or holds something else than numbers.
    """
    try:
        with path.open("rb") as file:
            return _read(file, path.stat().st_size)
    except BadArchiveError as error:
        raise SpecError(f"{path}: {error}") from None
    except _WRONG as error:
        raise SpecError(f"{path}: can't be read as an array: {_first(error)}") from None


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read an ``.npz`` file: arrays by name, in their order.

    Raises:
        SpecError: it is none, is damaged, or holds something else than numbers.
    """
    found = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in check_members(archive, _MOST):
                with archive.open(member) as file:
                    found[member.orig_filename.removesuffix(".npy")] = _read(file, member.file_size)
    except BadArchiveError as error:
        raise SpecError(f"{path}: {error}") from None
    except _WRONG as error:
        raise SpecError(f"{path}: can't be read as arrays: {_first(error)}") from None
    return found


def _first(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _read(file: IO[bytes], size: int) -> np.ndarray:
    """Read one array, of which so many bytes are there, the header among them."""
    start = file.read(_START)
    if start[:7] not in _VERSIONS:
        raise BadArchiveError("is no array of NumPy's")
    long = start[6] > 1
    length = int.from_bytes(start[8:12] if long else start[8:10], "little")
    if length > _LONGEST_HEADER:
        raise BadArchiveError(f"has a header of {length} bytes")
    rest = b"" if long else start[10:]
    header = ast.literal_eval((rest + file.read(length - len(rest))).decode())
    if set(header) != {"descr", "fortran_order", "shape"} or not _TYPE.fullmatch(str(header["descr"])):
        raise BadArchiveError(f"holds {str(header.get('descr'))[:80]!r}: only numbers are read")
    shape, dtype = header["shape"], np.dtype(header["descr"])
    there = size - (12 if long else 10) - length
    if not all(type(axis) is int and axis >= 0 for axis in shape) or math.prod(shape) * dtype.itemsize != there:
        raise BadArchiveError(
            f"is damaged: an array of shape {str(shape)[:80]} and {dtype} does not have {there} bytes"
        )
    content = bytearray(there)
    view = memoryview(content)
    while view:
        got = file.readinto(view)  # type: ignore[attr-defined]
        if not got:
            raise BadArchiveError("is cut off")
        view = view[got:]
    return np.frombuffer(content, dtype).reshape(shape, order="F" if header["fortran_order"] else "C")
