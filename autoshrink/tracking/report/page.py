"""A report as one HTML page that is complete in itself; nothing in it runs, and nothing is loaded from elsewhere."""

from __future__ import annotations

import base64
import html
from pathlib import Path

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
    Thumbnail,
    Tile,
    Tiles,
)

__all__ = ["page_of"]

_STYLE = Path(__file__).with_name("style.css")
_NOTHING_ELSE = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""The browser loads nothing and runs nothing, whatever the user's files may have put into the page."""


def page_of(document: Document) -> str:
    """Write a report as HTML."""
    links = "".join(f'<a href="#{item.key}">{_escape(item.title)}</a>' for item in document.sections)
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_NOTHING_ELSE}">'
        f"<title>{_escape(document.title)}</title>"
        f"<style>{_STYLE.read_text(encoding='utf-8')}</style>"
    )
    top = (
        f'<header><p class="kicker">{_escape(document.kicker)}</p><h1>{_escape(document.title)}</h1>'
        f'<p class="subtitle">{_escape(document.subtitle)}</p><nav aria-label="Contents">{links}</nav></header>'
    )
    body = "\n".join(_section(section) for section in document.sections)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{top}\n<main>{body}</main></body></html>\n'


def _section(section: Section) -> str:
    blocks = "\n".join(_block(block) for block in section.blocks)
    return f'<section id="{section.key}"><h2>{_escape(section.title)}</h2>\n{blocks}</section>'


def _block(block: Block) -> str:
    match block:
        case Paragraph(text, lead):
            return f"<p{' class=lead' if lead else ''}>{_text(text)}</p>"
        case Note(text):
            return f'<p class="note">{_text(text)}</p>'
        case Bullets(items):
            return "<ul>" + "".join(f"<li>{_text(item)}</li>" for item in items) + "</ul>"
        case Table():
            return _table(block)
        case Tiles(tiles):
            return '<div class="tiles">' + "".join(map(_tile, tiles)) + "</div>"
        case Picture():
            return _picture(block)
        case Gallery(thumbnails):
            return '<div class="gallery">' + "".join(map(_thumbnail, thumbnails)) + "</div>"
        case Listing(text):
            return f"<pre><code>{_escape(text)}</code></pre>"
        case Fold(title, blocks):
            inner = "\n".join(_block(item) for item in blocks)
            return f"<details><summary>{_escape(title)}</summary>\n{inner}</details>"


def _table(table: Table) -> str:
    def cell(kind: str, column: int, content: str) -> str:
        scope = ' scope="col"' if kind == "th" else ""
        return f"<{kind}{scope}{' class=number' if column in table.numbers else ''}>{content}</{kind}>"

    head = "".join(cell("th", number, _escape(name)) for number, name in enumerate(table.columns))
    rows = "".join(
        f"<tr{' class=marked' if number in table.marked else ''}>"
        + "".join(cell("td", column, _text(text)) for column, text in enumerate(row))
        + "</tr>\n"
        for number, row in enumerate(table.rows)
    )
    return f'<div class="table"><table><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></div>'


def _tile(tile: Tile) -> str:
    origin = f'<span class="origin {_escape(tile.origin)}">{_escape(tile.origin)}</span>' if tile.origin else ""
    return (
        f'<div class="tile"><p class="label">{_escape(tile.label)}{origin}</p>'
        f'<p class="value">{_text(tile.value)}</p><p class="compared">{_text(tile.note)}</p></div>'
    )


def _picture(picture: Picture) -> str:
    caption = "".join(f"<p>{_text(line)}</p>" for line in picture.caption)
    panels = "".join(picture.svg)
    label = _escape(picture.alt)
    return (
        f'<figure><div class="panels of-{len(picture.svg)}" role="img" aria-label="{label}">{panels}</div>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _thumbnail(item: Thumbnail) -> str:
    data = base64.b64encode(item.png).decode() if item.png is not None else ""
    image = f'<img alt="" src="data:image/png;base64,{data}">' if data else ""
    return f"<figure>{image}<figcaption>{_text(item.caption)}</figcaption></figure>"


def _text(text: Text) -> str:
    match text:
        case str():
            return _escape(text)
        case Figure(shown, value, name):
            return f'<data value="{value!r}" data-figure="{_escape(name)}">{_escape(shown)}</data>'
        case Code(shown):
            return f"<code>{_escape(shown)}</code>"
        case Strong(shown):
            return f"<strong>{_escape(shown)}</strong>"
        case tuple():
            return "".join(map(_text, text))


def _escape(text: str) -> str:
    return html.escape(text)
