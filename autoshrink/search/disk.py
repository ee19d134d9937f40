"""A disk that is full: one line that says where, how much is left, and what to do."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autoshrink.core import DeviceError, show_quantity

__all__ = ["enough_room"]

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def enough_room(folder: Path, then: str) -> Iterator[None]:
    """Turn a full disk into one line that says what to do; other errors pass.

    Args:
        folder: what is written to.
        then: what the user does once there is room.

    Raises:
        DeviceError: nothing more can be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
        free = show_quantity(shutil.disk_usage(there).free, "B")
        raise DeviceError(
            f"{error.filename or folder}: the disk is full ({free} left): make room, and {then}"
        ) from None
