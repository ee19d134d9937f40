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
        fill(f"{_SCHEME}{partial.absolute()}")
        os.link(partial, file)
    except FileExistsError:  # another process was faster, and its tables are as good
        return
    finally:
        partial.unlink(missing_ok=True)
