"""What a report is made of, before it is a page or Markdown: text, tables, pictures, in sections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "Block",
    "Bullets",
    "Code",
    "Document",
    "Figure",
    "Fold",
    "Gallery",
    "Listing",
    "Note",
    "Paragraph",
    "Picture",
    "Section",
    "Strong",
    "Table",
    "Text",
    "Thumbnail",
    "Tile",
    "Tiles",
]


@dataclass(frozen=True)
class Figure:
    """A number of the search: rounded for people, and exact beside it for machines."""

    text: str
    value: float
    name: str
    """Where the search's JSON document has it, such as ``3.latency.high``."""


@dataclass(frozen=True)
class Code:
    """A name or a command inside a sentence."""

    text: str


@dataclass(frozen=True)
class Strong:
    """What stands out in a sentence."""

    text: str


Part = str | Figure | Code | Strong
Text = Part | tuple["Text", ...]
"""A piece of text, or several in a row. All of it is shown as it is: no markup in it means anything."""


@dataclass(frozen=True)
class Paragraph:
    """Sentences; the lead is what a hurried reader reads."""

    text: Text
    lead: bool = False


@dataclass(frozen=True)
class Note:
    """Small print: what a figure means, or why something is missing."""

    text: Text


@dataclass(frozen=True)
class Bullets:
    """A list."""

    items: tuple[Text, ...]


@dataclass(frozen=True)
class Table:
    """A table; the columns of numbers stand to the right."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Text, ...], ...]
    numbers: frozenset[int] = frozenset()
    """Columns, counted from 0."""
    marked: frozenset[int] = frozenset()
    """Rows that stand out, counted from 0."""


@dataclass(frozen=True)
class Tile:
    """One figure that matters, with what it is compared with."""

    label: str
    value: Text
    note: Text
    origin: str = ""


@dataclass(frozen=True)
class Tiles:
    """The figures that matter, beside each other."""

    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Picture:
    """A drawing."""

    svg: tuple[str, ...]
    """The panels of a page, each an SVG element."""
    file: str
    """The picture of a Markdown file, beside it; empty for none."""
    alt: str
    caption: tuple[Text, ...] = ()


@dataclass(frozen=True)
class Thumbnail:
    """A small picture with what it shows."""

    png: bytes | None
    caption: Text


@dataclass(frozen=True)
class Gallery:
    """Small pictures beside each other."""

    items: tuple[Thumbnail, ...]


@dataclass(frozen=True)
class Listing:
    """A file's content, or commands."""

    text: str
    language: Literal["yaml", "sh", "text"] = "text"


@dataclass(frozen=True)
class Fold:
    """What only some readers want: a page shows its title until it is opened."""

    title: str
    blocks: tuple[Block, ...]


Block = Paragraph | Note | Bullets | Table | Tiles | Picture | Gallery | Listing | Fold


@dataclass(frozen=True)
class Section:
    """A chapter."""

    key: str
    """Its anchor in the page."""
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """A whole report."""

    kicker: str
    title: str
    subtitle: str
    sections: tuple[Section, ...]
