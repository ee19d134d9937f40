"""Archives that somebody submits: received to a file, looked at, and unpacked to a folder of their own."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import IO

from autoshrink.core import SpecError, Target
from autoshrink.core.archives import BROKEN, BadArchiveError, check_members, unpack
from autoshrink.service.server.checks import check_upload

__all__ = ["Uploads"]

_KINDS = {".yaml", ".yml", ".onnx", ".safetensors", ".npz"}
_PARTIAL = ".partial-"
_RATIO = 4
"""How much larger than the largest body its content may be."""


class Uploads:
    """The folder with one folder for each uploaded job."""

    def __init__(self, folder: Path, body_limit: int) -> None:
        self._folder = folder
        self._most = _RATIO * body_limit
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def room(self) -> IO[bytes]:
        """Open a file without a name that an archive is received in."""
        return tempfile.TemporaryFile(dir=self._folder)

    def unpack(self, archive: IO[bytes], job: str) -> tuple[Target, Path]:
        """Unpack an archive to the folder of a job, which is there only when everything in it is right.

        Returns:
            The target and the folder.

        Raises:
            SpecError: the archive is damaged or hostile, or its target is wrong.
        """
        partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=self._folder))
        place = self._folder / job
        try:
            archive.seek(0)
            try:
                _look(archive, self._most)
                archive.seek(0)
                files = unpack(archive, partial, self._most)
            except BadArchiveError as error:
                raise SpecError(f"the archive {error}") from None
            target = check_upload(partial)
            for file in files:
                _keep(file)
            partial.rename(place)
            _keep(self._folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        target.source.folder = place.resolve()
        target.source.name = "target.yaml"
        return target, place

    def drop(self, job: str) -> None:
        """Remove the folder of a job that was not taken."""
        shutil.rmtree(self._folder / job, ignore_errors=True)

    def clear(self, known: Collection[str]) -> None:
        """Remove what a service left behind that was ended before it took the job."""
        for folder in self._folder.iterdir():
            if folder.name not in known:
                shutil.rmtree(folder, ignore_errors=True)


def _look(content: IO[bytes], most: int) -> None:
    try:
        with zipfile.ZipFile(content) as archive:
            members = check_members(archive, most)
    except BadArchiveError:
        raise
    except BROKEN as error:
        raise BadArchiveError(f"is damaged, or no zip archive: {error}") from None
    for member in members:
        if PurePosixPath(member.filename).suffix not in _KINDS:
            raise BadArchiveError(f"holds {member.filename!r}: only {', '.join(sorted(_KINDS))} files are taken")
    targets = [member.filename for member in members if PurePosixPath(member.filename).name == "target.yaml"]
    if targets != ["target.yaml"]:
        raise BadArchiveError("must hold exactly one target.yaml, at its top")


def _keep(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
