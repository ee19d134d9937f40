"""What a run on another machine needs, packed to travel, and what comes back, unpacked."""

from __future__ import annotations

import functools
import hashlib
import io
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoshrink.core import DeviceError
from autoshrink.core.archives import BadArchiveError
from autoshrink.core.archives import unpack as unpack_archive

__all__ = ["Parcel", "harness", "pack", "unpack"]

_MOST = 1 << 33
"""Bytes that a run may write."""
_HARNESS = Path(__file__).with_name("harness")


@dataclass(frozen=True)
class Parcel:
    """A run: what to do, and the content of the files."""

    message: dict[str, Any]
    """As `autoshrink.devices.harness.parcel` reads it."""
    contents: dict[str, bytes]
    """By the SHA-256 of the content."""


def pack(adapter: Path, request: Mapping[str, Any], files: Mapping[str, Path], timeout: float) -> Parcel:
    """Pack what `autoshrink.devices.base.Device.run` is given."""
    program = f"adapter/{adapter.name}"
    contents = {name: path.read_bytes() for name, path in {**dict(_walk(files)), program: adapter}.items()}
    keys = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    message = {
        "request": dict(request),
        "files": keys,
        "places": {name: f"{name}/{path.name}" if path.is_file() else name for name, path in files.items()},
        "adapter": program,
        "timeout": timeout,
    }
    return Parcel(message, {keys[name]: content for name, content in contents.items()})


def unpack(content: bytes, prefix: str) -> Path:
    """Unpack what the harness wrote into a new folder.

    Raises:
        DeviceError: it is damaged, or nothing that a harness writes.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        unpack_archive(io.BytesIO(content), folder, _MOST, flat=True)
    except BadArchiveError as error:
        shutil.rmtree(folder)
        raise DeviceError(f"what the device sent back {error}") from None
    return folder


@functools.cache
def harness() -> tuple[bytes, str]:
    """Pack the harness, the same bytes each time, and give a key to know it by."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(_HARNESS.glob("*.py")):
            archive.writestr(zipfile.ZipInfo(f"harness/{path.name}"), path.read_bytes())
    content = buffer.getvalue()
    return content, hashlib.sha256(content).hexdigest()[:16]


def _walk(files: Mapping[str, Path]) -> Iterator[tuple[str, Path]]:
    for name, path in files.items():
        for item in [path] if path.is_file() else path.rglob("*"):
            if item.is_file():
                yield f"{name}/{path.name if path.is_file() else item.relative_to(path)}", item
