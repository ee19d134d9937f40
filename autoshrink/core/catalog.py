"""The files that travel with the project: hardware profiles, search spaces and examples, found by name."""

from __future__ import annotations

from pathlib import Path

from autoshrink.core.documents import Source
from autoshrink.core.problems import KeyPath, nearest

__all__ = ["catalog_folder", "find_document", "is_file", "names"]


def catalog_folder(kind: str) -> Path:
    """Give the folder of ``targets``, ``search_spaces`` or ``examples``.

    A checkout has them at its top; in a wheel they are package data.
    """
    package = Path(__file__).resolve().parents[1]
    packed = package / "_catalog" / kind
    return packed if packed.is_dir() else package.parent / kind


def names(kind: str) -> list[str]:
    """List the names in a folder of YAML files."""
    return sorted(path.stem for path in catalog_folder(kind).glob("*.yaml"))


def is_file(path: Path) -> bool:
    """Look whether there is a file; a name that no file can have is none's."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, or a zero byte in it
        return False


def find_document(name: str, kind: str, source: Source, key: KeyPath) -> Path:
    """Find a YAML file by its catalog name, or by a path relative to the file that names it.

    Raises:
        SpecError: there is neither.
    """
    if "/" in name or name.endswith((".yaml", ".yml")):
        path = source.folder / name
        if not is_file(path):
            raise source.error(key, f"no file {name!r} (looked for {path})")
        return path
    path = catalog_folder(kind) / f"{name}.yaml"
    if not is_file(path):
        raise source.error(key, f"no {name!r} in {kind}/; {nearest(name, names(kind))}, or give a path to a .yaml file")
    return path
