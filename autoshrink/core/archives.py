"""Zip archives that somebody else made: each member is checked before anything is unpacked."""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import IO

__all__ = ["BROKEN", "BadArchiveError", "check_members", "unpack"]

_MOST_MEMBERS = 10_000
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_BLOCK = 1 << 20
BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, RuntimeError, OverflowError)
"""What `zipfile` raises on archives that are damaged."""


class BadArchiveError(ValueError):
    """The archive is damaged, or holds what must not be unpacked."""


def check_members(archive: zipfile.ZipFile, most: int, *, flat: bool = False) -> Sequence[zipfile.ZipInfo]:
    """Check what an archive says it holds.

    Args:
        archive: an open one.
        most: bytes that all members may have when they are unpacked.
        flat: take no folders.

    Returns:
        Its files, without folders. No more bytes come out of a member than it says.

    Raises:
        BadArchiveError: a name leads out of the folder or stands twice, a member is a link or encrypted, or they are
            too many or too large.
    """
    members = archive.infolist()
    if len(members) > _MOST_MEMBERS:
        raise BadArchiveError(f"holds {len(members)} files; at most {_MOST_MEMBERS} are unpacked")
    seen = set[str]()
    for member in members:
        name = member.orig_filename
        parts = PurePosixPath(name).parts
        if not name.isprintable() or "\\" in name or ":" in name or name.startswith("/") or ".." in parts or not parts:
            raise BadArchiveError(f"holds {name[:80]!r}, which is no name of a file inside a folder")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise BadArchiveError(f"holds {name!r}, which is a link")
        if flat and (len(parts) > 1 or member.is_dir()):
            raise BadArchiveError(f"holds {name!r}, in a folder of its own")
        if member.flag_bits & _ENCRYPTED or member.compress_type not in _PACKED:
            raise BadArchiveError(f"holds {name!r}, which is encrypted, or packed in another way than by deflate")
        if name in seen:
            raise BadArchiveError(f"holds {name!r} twice")
        seen.add(name)
    if (size := sum(member.file_size for member in members)) > most:
        raise BadArchiveError(f"would be {size} bytes when it is unpacked; at most {most} are")
    return [member for member in members if not member.is_dir()]


def unpack(content: IO[bytes] | Path, folder: Path, most: int, *, flat: bool = False) -> list[Path]:
    """Unpack an archive into a folder.

    Args:
        content: the archive.
        folder: an empty one.
        most: bytes that all members may have when they are unpacked.
        flat: take no folders.

    Returns:
        The files that were written.

    Raises:
        BadArchiveError: it is no zip archive, is damaged, or holds what must not be unpacked; files may have been
            written, all of them inside the folder.
    """
    written = []
    try:
        with zipfile.ZipFile(content) as archive:
            for member in check_members(archive, most, flat=flat):
                place = folder / member.orig_filename
                place.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as packed, place.open("xb") as file:
                    while block := packed.read(_BLOCK):
                        file.write(block)
                written.append(place)
    except BadArchiveError:
        raise
    except BROKEN as error:
        raise BadArchiveError(f"is damaged, or no zip archive: {error}") from None
    return written
