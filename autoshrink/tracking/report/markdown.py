"""A report as Markdown, as GitHub and MLflow show it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from autoshrink.tracking.report.blocks import (
    Block,
    Bullets,
    Code,
    Document,
    Figure,
    Fold,
    Gallery,
    Listing,
    Note,
    Paragraph,
    Picture,
    Section,
    Strong,
    Table,
    Text,
    Tiles,
)

__all__ = ["markdown_of"]

_MEANS_SOMETHING = re.compile(r"([\\`*_{}\[\]<>#|~!&$])")


def markdown_of(document: Document) -> str:
    """Write a report as Markdown; what the user's files say is text in it, and never markup."""
    top = [f"# {_plain(document.title)}", _plain(f"{document.kicker}. {document.subtitle}")]
    return "\n\n".join([*top, *(part for item in document.sections for part in _section(item))]) + "\n"


def _section(section: Section) -> Iterator[str]:
    yield f"## {_plain(section.title)}"
    for block in section.blocks:
        yield from _block(block)


def _block(block: Block) -> Iterator[str]:
    match block:
        case Paragraph(text) | Note(text):
            yield _text(text)
        case Bullets(items):
            yield "\n".join(f"- {_text(item)}" for item in items)
        case Table():
            yield _table(block)
        case Tiles(tiles):
            rows = tuple((tile.label, tile.value, tile.note, tile.origin) for tile in tiles)
            yield _table(Table(("", "", "", "origin"), rows, frozenset({1})))
        case Picture():
            if block.file:
                yield f"![{_plain(block.alt)}](<{block.file}>)"
            yield from map(_text, block.caption)
        case Gallery(thumbnails):
            yield "\n".join(f"- {_text(item.caption)}" for item in thumbnails)
        case Listing(text, language):
            fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
            yield f"{fence}{language}\n{text.rstrip()}\n{fence}"
        case Fold(title, blocks):
            yield f"### {_plain(title)}"
            for inner in blocks:
                yield from _block(inner)


def _table(table: Table) -> str:
    rule = ["---:" if column in table.numbers else "---" for column in range(len(table.columns))]
    lines = [list(map(_plain, table.columns)), rule, *([_text(cell) for cell in row] for row in table.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(text: Text) -> str:
    match text:
        case str():
            return _plain(text)
        case Figure(shown):
            return _plain(shown)
        case Strong(shown):
            return f"**{_plain(shown)}**"
        case Code(shown):
            # A pipe would end a table's cell even inside of code.
            return f"`{_one_line(shown)}`" if not set(shown) & set("`|") else _plain(shown)
        case tuple():
            return "".join(map(_text, text))


def _plain(text: str) -> str:
    return _MEANS_SOMETHING.sub(r"\\\1", _one_line(text))


def _one_line(text: str) -> str:
    return " ".join(text.splitlines())
