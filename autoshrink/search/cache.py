"""What all searches of one model share: recovered weights, costs and results, each under the hash of what made it."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from autoshrink import __version__

__all__ = ["Cache"]

_FOLDER = ".cache"
_SUM = 16
"""Bytes of the checksum that an entry begins with."""
_MOST = 4 * 2**30
"""Bytes that one model's cache may hold when a search begins; what was used least recently goes first."""


class Cache:
    """Files by kind and key; losing one costs time and nothing else."""

    def __init__(self, root: Path, model: str) -> None:
        """Open a model's cache.

        Args:
            root: the folder that holds all searches.
            model: the workload's key.
        """
        self.folder = root / _FOLDER / f"{model}-{__version__}"

    def read(self, kind: str, key: str) -> bytes | None:
        """Read an entry; None when there is none, or it is damaged."""
        path = self.folder / kind / key
        try:
            kept = path.read_bytes()
            path.touch()
        except OSError:
            return None
        content = kept[_SUM:]
        return content if kept[:_SUM] == _sum(content) else None

    def keep(self, kind: str, key: str, content: bytes) -> None:
        """Write an entry in one step; a full disk only means that it is not kept."""
        folder = self.folder / kind
        partial: Path | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".partial-", delete=False) as file:
                partial = Path(file.name)
                file.write(_sum(content) + content)
            partial.replace(folder / key)
        except OSError:
            if partial is not None:
                partial.unlink(missing_ok=True)

    def keys(self, kind: str) -> Iterator[str]:
        """Name the entries of a kind, the latest first."""
        folder = self.folder / kind
        found = sorted(folder.iterdir(), key=_used, reverse=True) if folder.is_dir() else []
        return (path.name for path in found if not path.name.startswith("."))

    def trim(self, most: int = _MOST) -> None:
        """Drop what was used least recently until no more than ``most`` bytes are left."""
        files = sorted((path for path in self.folder.glob("*/*") if path.is_file()), key=_used, reverse=True)
        held = 0
        for path in files:
            held += path.stat().st_size
            if held > most:
                path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Forget everything about this model."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _sum(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_SUM).digest()


def _used(path: Path) -> float:
    return path.stat().st_mtime
