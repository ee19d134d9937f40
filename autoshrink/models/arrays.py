"""NumPy's files that another process or machine wrote: sizes are checked first, and nothing is unpickled."""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from autoshrink.core import SpecError
from autoshrink.core.archives import BROKEN, BadArchiveError, check_members

__all__ = ["read_array", "read_arrays"]

_MOST = 1 << 33
"""Bytes of all arrays of one file."""
_KINDS = "biufc"
_LONGEST_HEADER = 10_000
_WRONG = (*BROKEN, TypeError, LookupError, SyntaxError, RecursionError, MemoryError)
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
        raise SpecError(f"{path}: can't be read as an array: {error}") from None


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
        raise SpecError(f"{path}: can't be read as arrays: {error}") from None
    return found


def _read(file: IO[bytes], size: int) -> np.ndarray:
    """Read one array, of which so many bytes are there, the header among them."""
    head = io.BytesIO(file.read(min(size, npy.MAGIC_LEN + 4 + _LONGEST_HEADER)))
    version = npy.read_magic(head)
    if version not in ((1, 0), (2, 0)):
        raise BadArchiveError(f"is an array of the unknown version {version}")
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, by_columns, dtype = read_header(head, max_header_size=_LONGEST_HEADER)
    if dtype.kind not in _KINDS:
        raise BadArchiveError(f"holds {dtype}: only numbers are read")
    if any(length < 0 for length in shape) or head.tell() + math.prod(shape) * dtype.itemsize != size:
        raise BadArchiveError(f"is damaged: an array of shape {shape} and type {dtype} does not have its {size} bytes")
    begun = head.read()
    content = bytearray(begun)
    content.extend(bytes(size - head.tell()))
    view = memoryview(content)[len(begun) :]
    while view:
        got = file.readinto(view)  # type: ignore[attr-defined]
        if not got:
            raise BadArchiveError("is cut off")
        view = view[got:]
    return np.frombuffer(content, dtype).reshape(shape, order="F" if by_columns else "C")
