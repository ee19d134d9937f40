"""A report from its material: its chapters in their order, and the files that it is written to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autoshrink.core import SpecError
from autoshrink.tracking.report.asked import asked
from autoshrink.tracking.report.blocks import Document
from autoshrink.tracking.report.described import described
from autoshrink.tracking.report.differences import differences, rounding
from autoshrink.tracking.report.ending import glossary, refused, repeated
from autoshrink.tracking.report.found import found, in_short
from autoshrink.tracking.report.markdown import markdown_of
from autoshrink.tracking.report.material import Material
from autoshrink.tracking.report.page import page_of

__all__ = ["check_files", "compose", "write_files"]

_SUFFIXES = (".html", ".md")


def check_files(files: Sequence[Path]) -> None:
    """Check that each file can be written in a way that its suffix names.

    Raises:
        SpecError: one can't.
    """
    for file in files:
        if file.suffix not in _SUFFIXES:
            raise SpecError(f"--report {file}: the file's name ends in .html or .md")
        if not file.parent.is_dir():
            raise SpecError(f"--report {file}: there is no folder {file.parent}/")


def compose(material: Material, picture: str = "") -> Document:
    """Compose a report.

    Args:
        material: the search, and what is known of the candidate that is described.
        picture: the name of the front's picture beside a Markdown file; empty for none.
    """
    chapters = (
        in_short(material),
        asked(material),
        found(material, picture),
        described(material),
        differences(material),
        rounding(material),
        refused(material),
        repeated(material),
        glossary(),
    )
    title = f"{material.target.name} on {material.target.hardware.name}"
    return Document("Compression report", title, f"Search {material.search}, {material.made}", chapters)


def write_files(material: Material, files: Sequence[Path], picture: Path | None = None) -> None:
    """Write a report to files: ``.html`` is complete in itself, ``.md`` has a picture beside it.

    Args:
        material: the search, and what is known of the candidate that is described.
        files: what to write, as `check_files` accepts it.
        picture: the front's picture (PNG) that a Markdown file may refer to, where it is beside it already; else one is
            drawn, called as the file with ``-front.png`` at its end.

    Raises:
        SpecError: a file can't be written.
    """
    for file in files:
        try:
            if file.suffix == ".html":
                file.write_text(page_of(compose(material)), encoding="utf-8")
            else:
                beside = picture if picture is not None and picture.parent == file.parent else _drawn(material, file)
                file.write_text(markdown_of(compose(material, beside.name)), encoding="utf-8")
        except OSError as error:
            raise SpecError(f"--report {file}: can't be written: {error}") from None


def _drawn(material: Material, file: Path) -> Path:
    from autoshrink.tracking.plot import plot_front  # matplotlib: only where a picture is drawn

    picture = file.with_name(f"{file.stem}-front.png")
    plot_front(material.front, material.original, f"{material.target.name} on {material.target.hardware.name}", picture)
    return picture
