"""MLflow's SQLite file, made in one step: one whose tables were half made by a process that was killed is of no use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

__all__ = ["make_whole"]

_SCHEME = "sqlite:///"


def make_whole(uri: str, fill: Callable[[str], object]) -> None:
    """Have MLflow make its tables in a file beside, which then gets the name, where there is no such file yet.

    Args:
        uri: MLflow's tracking address; nothing is done for one that is no SQLite file.
        fill: has MLflow make its tables at an address.

    Raises:
        OSError: the folder can't be written.
    """
    if not uri.startswith(_SCHEME) or "?" in uri:
        return
    file = Path(unquote(uri.removeprefix(_SCHEME)))
    if file.exists() or not file.parent.is_dir():
        return
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        partial.unlink(missing_ok=True)  # of one that was killed and had our number
        fill(f"{_SCHEME}{partial.absolute()}")
        _name(partial, file)
    finally:
        partial.unlink(missing_ok=True)


def _name(partial: Path, file: Path) -> None:
    """Give a file its name, unless another process was faster, whose tables are as good."""
    try:
        os.link(partial, file)
    except FileExistsError:
        return
    except OSError:  # a file system that knows no second names, such as FAT
        if not file.exists():
            partial.rename(file)
