"""What commands take from the command line and leave in files."""

from __future__ import annotations

import json
from pathlib import Path

from autoshrink.core import SpecError, parse_quantity

__all__ = ["parse_option", "write_json"]


def parse_option(option: str, text: str) -> float:
    """Read a time given on the command line."""
    try:
        return parse_quantity(text, "s")
    except ValueError as error:
        raise SpecError(f"{option}: {error}") from None


def write_json(document: object, path: Path | None) -> None:
    """Write one document to a file, or to the standard output for ``-``."""
    if path is None:
        return
    text = json.dumps(document, indent=1)
    if str(path) == "-":
        print(text)
        return
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise SpecError(f"--json {path}: can't be written: {error}") from None
