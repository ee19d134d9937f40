"""Artifacts at an address: a folder that machines share, a bucket, or whatever fsspec has a file system for.

Each has a folder of its key's name. Its files come first and ``artifact.json`` last, with the hash of each of them:
what has none is not there yet, and what differs from it is damaged.
"""

from __future__ import annotations

import contextlib
import ftplib
import hashlib
import json
import posixpath
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from autoshrink.core import AutoshrinkError, BackendUnavailable, SpecError
from autoshrink.search.places import StorageGone, bare, first_line

__all__ = ["Remote"]

_LAST = "artifact.json"
_PAUSES = (1.0, 3.0)
"""Seconds before it is asked again."""
_WHOLE = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az")
"""File systems on which a file is there as a whole or not at all."""
_ELSEWHERE = ("memory", "http", "https", "data", "github", "zip", "tar")
"""What fsspec knows, and nobody else sees or nobody can write."""
T = TypeVar("T")


class Remote:
    """The artifacts at one address, which any number of searches may share: equal content has one key."""

    def __init__(self, address: str) -> None:
        """Find the file system; nothing is asked of it yet.

        Raises:
            SpecError: it is no address that files can be kept at.
            BackendUnavailable: the package for its scheme is missing.
        """
        self._where = bare(address)
        self._scheme = address.partition("://")[0] if "://" in address else "file"
        self._address = address
        self._files, self._root = self._find(address)

    def keep(self, key: str, files: Mapping[str, bytes]) -> None:
        """Write an artifact, unless it is there.

        Raises:
            StorageGone: the address does not answer.
        """
        self._patiently(lambda: self._write(key, files))

    def read(self, key: str) -> dict[str, bytes] | None:
        """Read an artifact's files; None where it is not.

        Raises:
            AutoshrinkError: they are damaged.
            StorageGone: the address does not answer.
        """
        try:
            hashes: dict[str, str] = json.loads(self._patiently(lambda: self._get(key, _LAST)))["sha256"]
            found = {name: self._patiently(lambda name=name: self._get(key, name)) for name in hashes}  # type: ignore[misc]
        except FileNotFoundError:
            return None
        except (ValueError, LookupError, TypeError):
            raise AutoshrinkError(f"{self._where}/{key}/{_LAST}: damaged") from None
        for name, content in found.items():
            if _hash(content) != hashes[name]:
                raise AutoshrinkError(f"{self._where}/{key}/{name}: damaged: it is not what was written there")
        return found

    def keys(self) -> set[str]:
        """Name the artifacts that are there.

        Raises:
            StorageGone: the address does not answer.
        """
        found = self._patiently(lambda: self._files.glob(f"{self._root}/*/{_LAST}"))
        return {posixpath.basename(posixpath.dirname(path)) for path in found}

    def _write(self, key: str, files: Mapping[str, bytes]) -> None:
        if self._files.exists(f"{self._root}/{key}/{_LAST}"):
            return
        if self._scheme not in _WHOLE:  # those have no folders
            self._files.makedirs(f"{self._root}/{key}", exist_ok=True)
        about = json.dumps({"sha256": {name: _hash(content) for name, content in files.items()}}).encode()
        for name, content in {**files, _LAST: about}.items():
            place = f"{self._root}/{key}/{name}"
            partial = place if self._scheme in _WHOLE else f"{place}.{uuid.uuid4().hex}.partial"
            self._files.pipe_file(partial, content)
            if partial != place:
                self._files.mv(partial, place)

    def _get(self, key: str, name: str) -> bytes:
        content: bytes = self._files.cat_file(f"{self._root}/{key}/{name}")
        return content

    def _find(self, address: str) -> tuple[Any, str]:
        import fsspec

        if "::" in address or self._scheme in _ELSEWHERE:
            raise SpecError(f"--artifacts {self._where}: artifacts can't be kept there: name a folder or a bucket")
        if "://" not in address:
            return fsspec.filesystem("file"), str(Path(address).absolute())
        try:
            if self._scheme == "s3":
                return _bucket(address)
            files, root = fsspec.core.url_to_fs(address, skip_instance_cache=True)
        except ImportError as error:
            raise BackendUnavailable(f"--artifacts {self._where}: {first_line(error)}") from None
        except ValueError as error:
            raise SpecError(f"--artifacts {self._where}: {first_line(error)}") from None
        except ftplib.all_errors as error:
            raise self._gone(error) from None
        return files, str(root).rstrip("/")

    def _patiently(self, ask: Callable[[], T]) -> T:
        for pause in (*_PAUSES, None):
            try:
                return ask()
            except FileNotFoundError:
                raise
            except ftplib.all_errors as error:  # of all file systems; those of FTP alone are no OSError
                if pause is None:
                    raise self._gone(error) from None
                time.sleep(pause)
                with contextlib.suppress(StorageGone):
                    self._files, self._root = self._find(self._address)  # the connection may be what is broken
        raise AssertionError("unreachable")

    def _gone(self, error: Exception) -> StorageGone:
        return StorageGone(f"--artifacts {self._where}: can't be used: {first_line(error)}")


def _bucket(address: str) -> tuple[Any, str]:
    """Find a bucket with what pyarrow, which MLflow brings along, has for S3."""
    from fsspec.implementations.arrow import ArrowFSWrapper
    from pyarrow.fs import FileSystem

    files, root = FileSystem.from_uri(address)
    if not root:
        raise ValueError("names no bucket")
    return ArrowFSWrapper(files), str(root).rstrip("/")


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
