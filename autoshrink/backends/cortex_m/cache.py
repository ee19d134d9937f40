"""Files that are built once on the user's machine: each lies under a key of everything that it depends on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from autoshrink.core import BackendUnavailable

__all__ = ["built_once"]


def built_once(name: str, depends_on: Iterable[bytes | str], build: Callable[[Path], None]) -> Path:
    """Give a cached file, built now if it isn't there yet.

    Args:
        name: the file's name; its suffix is kept.
        depends_on: everything that the content depends on.
        build: writes the file to the path that it is handed.

    Returns:
        The file in ``$XDG_CACHE_HOME/autoshrink``. Processes that build it at the same time don't disturb each other.

    Raises:
        BackendUnavailable: the folder can't be written.
    """
    digest = hashlib.sha256()
    for part in depends_on:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "autoshrink" / "cortex_m"
    path = folder / f"{Path(name).stem}-{digest.hexdigest()[:24]}{Path(name).suffix}"
    if not path.exists():
        _make(folder)
        unfinished = path.with_name(f"{path.stem}.{os.getpid()}{path.suffix}")
        try:
            build(unfinished)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    return path


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BackendUnavailable(f"nothing can be kept in {folder} ({error.strerror}): set XDG_CACHE_HOME") from None
