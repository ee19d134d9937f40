"""The artifacts of a search: in its folder, and at an address that outlives this machine where one was given."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from autoshrink.core import Artifact, AutoshrinkError

if TYPE_CHECKING:
    from autoshrink.search.remote import Remote

__all__ = ["Artifacts", "read_here", "read_there"]


class Artifacts:
    """Files by the key of the artifact that they are."""

    def __init__(self, folder: Path, address: str | None = None) -> None:
        """Begin.

        Args:
            folder: this machine's.
            address: where they are kept as well; None for nowhere.
        """
        self.folder = folder
        self.address = address

    def keep(self, key: str, files: Mapping[str, bytes]) -> Path:
        """Write files to their place in one step, here and at the address.

        Raises:
            StorageGone: the address does not answer; they are here then.
        """
        place = self._write(key, files)
        if self.address is not None:
            _remote(self.address).keep(key, files)
        return place

    def bring(self) -> None:
        """Bring what is here to the address, if it is not there yet.

        Raises:
            StorageGone: the address does not answer.
        """
        if self.address is None:
            return
        there = _remote(self.address).keys()
        for place in self.folder.iterdir() if self.folder.is_dir() else ():
            if not place.name.startswith(".") and place.name not in there:
                _remote(self.address).keep(place.name, {path.name: path.read_bytes() for path in place.iterdir()})

    def fetch(self, artifact: Artifact) -> Path:
        """Give the folder of an artifact's files, which are read from the address where this machine has them no more.

        Raises:
            AutoshrinkError: the files are damaged, here or at the address.
            StorageGone: the address does not answer.
        """
        place = self.folder / artifact.key
        if not place.exists() and self.address is not None and (files := _remote(self.address).read(artifact.key)):
            _check_names(files, artifact)
            self._write(artifact.key, files)
        if place.exists() and _read(place, artifact) is None:
            raise AutoshrinkError(
                f"{place}/: damaged: its files are not those that were measured; delete that folder and run the "
                "candidate's recipe again with 'autoshrink apply'"
            )
        return place

    def _write(self, key: str, files: Mapping[str, bytes]) -> Path:
        place = self.folder / key
        if not place.exists():
            self.folder.mkdir(exist_ok=True)
            partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=self.folder))
            for name, content in files.items():
                with (partial / name).open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            partial.chmod(0o755)
            partial.rename(place)
        return place


def read_here(artifact: Artifact, folders: Iterable[Path]) -> dict[str, bytes] | None:
    """Read an artifact's files from the first of some searches' folders that has them whole; None where none does."""
    return next((files for folder in folders if (files := _read(folder / artifact.key, artifact)) is not None), None)


def read_there(artifact: Artifact, addresses: Iterable[str | None]) -> dict[str, bytes] | None:
    """Read an artifact's files from the first address that has them whole; None where none does."""
    for address in dict.fromkeys(addresses):
        if address is None:
            continue
        try:
            files = _remote(address).read(artifact.key)
        except AutoshrinkError:
            continue  # it is made again
        if files is not None and set(files) == set(artifact.files):
            return files
    return None


def _read(place: Path, artifact: Artifact) -> dict[str, bytes] | None:
    """Read files as they were written, which an artifact's key says; None where one is gone or damaged."""
    try:
        files = {name: (place / name).read_bytes() for name in artifact.files}
    except OSError:
        return None
    return files if hashlib.sha256(b"".join(files.values())).hexdigest()[:16] == artifact.key else None


@cache
def _remote(address: str) -> Remote:
    from autoshrink.search.remote import Remote  # fsspec: only where there is an address

    return Remote(address)


def _check_names(files: Mapping[str, bytes], artifact: Artifact) -> None:
    if set(files) != set(artifact.files):
        raise AutoshrinkError(
            f"artifact {artifact.key}: the files that are kept are {', '.join(sorted(files))}, "
            f"and not {', '.join(sorted(artifact.files))}"
        )
