"""A run that somebody far away asked for: puts the files in place, runs the program, packs what it wrote."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .facts import facts, versions
from .launch import launch

__all__ = ["answer", "run_parcel"]


def answer(message: Mapping[str, Any], contents: Mapping[str, bytes]) -> tuple[dict[str, Any], bytes]:
    """Do what one message asks for.

    Args:
        message: what to ``do``: ``facts``, ``versions`` of ``packages``, or ``run``; see `run_parcel`.
        contents: of files, by their keys.

    Returns:
        The answer, and what a run wrote.
    """
    if message["do"] == "facts":
        return {"facts": facts()}, b""
    if message["do"] == "versions":
        return {"versions": versions(message["packages"])}, b""
    return run_parcel(message, lambda key, place: _write(place, contents[key]))


def run_parcel(
    message: Mapping[str, Any], put: Callable[[str, Path], object], caller: int | None = None
) -> tuple[dict[str, Any], bytes]:
    """Run the program once in a process of its own.

    Args:
        message: the ``request``; ``files``, keys by name; ``places``, the names of which the request speaks and where
            they are; the ``adapter`` among the files; and the ``timeout`` in s.
        put: writes the file of a key to a path.
        caller: a file descriptor that can be read from when whoever asked is gone; then it is ended.

    Returns:
        How it ended, as `autoshrink.devices.harness.launch` says, and what it wrote, packed.
    """
    with tempfile.TemporaryDirectory(prefix="autoshrink-") as scratch:
        given, folder = Path(scratch) / "given", Path(scratch) / "run"
        folder.mkdir()
        for name, key in message["files"].items():
            place = given / name
            place.parent.mkdir(parents=True, exist_ok=True)
            put(key, place)
        files = {name: given / place for name, place in message["places"].items()}
        ended = launch(given / message["adapter"], message["request"], files, folder, message["timeout"], caller)
        content = _packed([*folder.glob("*.npy"), folder / "answer.json"]) if ended["code"] == 0 else b""
    return ended, content


def _write(place: Path, content: bytes) -> None:
    place.write_bytes(content)


def _packed(paths: list[Path]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in paths:
            archive.write(path, path.name)
    return buffer.getvalue()
