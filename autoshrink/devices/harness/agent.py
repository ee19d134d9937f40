"""The far end of a connection: takes files, runs the program, sends back what it wrote. Standard library only.

Messages are a line of JSON each way, and where it says ``size``, so many bytes after it. A file is known by the SHA-256
of its content and stays in the cache, so that it travels once. When the connection ends, whatever runs is ended.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any, BinaryIO

from .facts import facts, versions
from .parcel import run_parcel

__all__ = ["serve"]

_FILES = 1 << 30
"""Bytes of the cache, of which those go first that were not used for longest."""


def serve(cache: str, heard: BinaryIO, said: BinaryIO) -> None:
    """Answer until the connection ends.

    Args:
        cache: the folder that files are kept in.
        heard: what comes from the near end, not buffered, so that its end can be waited for.
        said: what goes there.
    """
    folder = Path(cache) / "files"
    folder.mkdir(parents=True, exist_ok=True)
    _trim(folder)
    while line := _line(heard):
        message = json.loads(line)
        if message["do"] == "facts":
            _say(said, {"facts": facts()})
        elif message["do"] == "versions":
            _say(said, {"versions": versions(message["packages"])})
        elif message["do"] == "have":
            _say(said, {"missing": [key for key in message["keys"] if not _touch(folder / key)]})
        elif message["do"] == "put":
            _keep(folder / message["key"], _exactly(heard, message["size"]))
        elif message["do"] == "run" and not _run(folder, message, heard, said):
            return


def _run(cache: Path, message: dict[str, Any], heard: BinaryIO, said: BinaryIO) -> bool:
    ended, content = run_parcel(message, lambda key, place: shutil.copyfile(cache / key, place), heard.fileno())
    if ended.pop("gone"):
        return False
    _say(said, {**ended, "size": len(content)})
    said.write(content)
    said.flush()
    return True


def _line(heard: BinaryIO) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        byte = heard.read(1)
        if not byte:
            return b""
        line += byte
    return line


def _exactly(heard: BinaryIO, size: int) -> bytes:
    content = bytearray()
    while len(content) < size:
        part = heard.read(min(size - len(content), 1 << 20))
        if not part:
            raise EOFError
        content += part
    return bytes(content)


def _say(said: BinaryIO, message: dict[str, Any]) -> None:
    said.write(json.dumps(message).encode() + b"\n")
    said.flush()


def _keep(path: Path, content: bytes) -> None:
    if hashlib.sha256(content).hexdigest() != path.name:
        raise ValueError(f"{path.name}: damaged on its way")
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_bytes(content)
    partial.replace(path)


def _touch(path: Path) -> bool:
    try:
        os.utime(path)
    except OSError:
        return False
    return True


def _trim(folder: Path) -> None:
    files = sorted(((path.stat().st_mtime, path) for path in folder.iterdir()), reverse=True)
    held = 0
    for used, path in files:
        held += path.stat().st_size
        if held > _FILES and time.time() - used > 3600:  # what is an hour old is in no run
            path.unlink(missing_ok=True)
