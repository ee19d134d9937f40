"""What travels to the nodes of a cluster before they work: the target's folder and this package, in one archive.

Ray unpacks it once on each node and puts it first on ``sys.path``, so that a node runs this version of autoshrink,
whichever it has itself, and finds the user's files, with no disk in common.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

from autoshrink.core import SpecError, Target, show_quantity

__all__ = ["LIMIT", "arrived", "pack", "scratch"]

LIMIT = 250 * 10**6
"""Bytes that travel at most: Ray's head keeps them in its memory."""
_TARGET = "target"
_STAYS = frozenset({".autoshrink", "mlruns", "mlartifacts", "mlflow.db", "node_modules", "__pycache__"})
"""Names of what no node needs; nor does it need what else begins with a dot, or a virtual environment."""
_LISTED = 3
_PACKAGE = Path(__file__).resolve().parents[1]
_THEN = (1980, 1, 1, 0, 0, 0)
"""When every file was changed: the same content is the same archive, which a node need not fetch again."""


def pack(target: Target, archive: Path) -> Path:
    """Write the archive.

    Raises:
        SpecError: the target names a file that lies elsewhere, or its folder holds too much.
    """
    folder = target.source.folder.resolve()
    _check_inside(target, folder)
    files = list(_files(folder, frozenset()))
    size = sum(path.stat().st_size for path in files)
    if size > LIMIT:
        largest = sorted(files, key=lambda path: -path.stat().st_size)[:_LISTED]
        listed = ", ".join(
            f"{path.relative_to(folder)} ({show_quantity(path.stat().st_size, 'B')})" for path in largest
        )
        raise SpecError(
            f"{folder}: with --address it is sent to the nodes, and holds {show_quantity(size, 'B')} where "
            f"{show_quantity(LIMIT, 'B')} can be; the largest: {listed}. Move elsewhere what nodes don't need, "
            "or can fetch themselves"
        )
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        packed.writestr(zipfile.ZipInfo(f"{_TARGET}/", _THEN), b"")
        for path in files:
            _add(packed, f"{_TARGET}/{path.relative_to(folder)}", path)
        for path in _files(_PACKAGE, frozenset()):
            _add(packed, f"{_PACKAGE.name}/{path.relative_to(_PACKAGE)}", path)
    return archive


def arrived(target: Target) -> Target:
    """Give the target with its folder where the archive was unpacked that this package was loaded from.

    It is the current folder from then on, as it is for most who begin a search: their code may open files by it.
    """
    here = target.model_copy()
    here._source = target.source.moved(_PACKAGE.parent / _TARGET)
    os.chdir(here.source.folder)
    return here


def scratch(name: str) -> Path:
    """Give a folder of a search's on this node, beside what was unpacked; Ray removes it with that."""
    return _PACKAGE.parent / "scratch" / name


def _check_inside(target: Target, folder: Path) -> None:
    for key in ("model", "weights", "data", "metric"):
        name = getattr(target, key)
        file = str(name).rpartition(":")[0] if ":" in str(name) else str(name)
        # A name of something that is no file here, such as a metric's, lies inside, and does no harm.
        if name and not (folder / file).resolve().is_relative_to(folder):
            raise target.source.error(
                (key,), f"{file} is not in the target's folder, which is what --address sends to the nodes"
            )


def _files(folder: Path, above: frozenset[Path]) -> Iterator[Path]:
    """List the files that travel, in order; what a link leads to travels in its place."""
    here = folder.resolve()
    if here in above:
        return  # a link to a folder that it lies in
    for path in sorted(folder.iterdir()):
        if path.name in _STAYS or path.name.startswith("."):
            continue
        if path.is_dir():
            if not (path / "pyvenv.cfg").exists():
                yield from _files(path, above | {here})
        elif path.is_file() and os.access(path, os.R_OK):
            yield path


def _add(packed: zipfile.ZipFile, name: str, path: Path) -> None:
    about = zipfile.ZipInfo(name, _THEN)
    about.compress_type = zipfile.ZIP_DEFLATED
    about.external_attr = (0o755 if os.access(path, os.X_OK) else 0o644) << 16
    packed.writestr(about, path.read_bytes())
