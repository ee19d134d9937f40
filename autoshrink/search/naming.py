"""What a search is called, and the folder that goes with the name."""

from __future__ import annotations

import re
from pathlib import Path

from autoshrink.core import SpecError

__all__ = ["new_folder"]

_LONGEST_NAME = 150


def new_folder(root: Path, target: str, name: str | None) -> Path:
    """Make a search's folder, called ``name`` or the target's name and a running number.

    Raises:
        SpecError: a search of this name is there already, or the name can't be a folder's.
    """
    if name is not None and not (re.fullmatch(r"[\w][\w.-]*", name) and len(name.encode()) <= _LONGEST_NAME):
        raise SpecError(f"--name {name!r}: use letters, digits, '.', '-' and '_', at most {_LONGEST_NAME} bytes")
    stem = re.sub(r"[^\w.-]+", "-", target).encode()[:_LONGEST_NAME].decode(errors="ignore").strip(".-")
    stem = stem or "search"
    root.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        folder = root / (name or f"{stem}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            if name is not None:
                raise SpecError(f"a search {name!r} is there already: use --resume {name} or another name") from None
            number += 1
        else:
            return folder
