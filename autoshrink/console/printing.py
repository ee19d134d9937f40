"""The console: names and errors may hold what anybody chose, so brackets and control characters are only text."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

__all__ = ["PlainConsole", "plain_console", "print_error"]

_WIDTH = 160
_SHOWN = {
    **{code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\t\n"},
    0x7F: "\u2421",
    **dict.fromkeys((*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)), "\ufffd"),
    **dict.fromkeys(range(0xD800, 0xE000), "\ufffd"),
}
"""Control characters, and marks that turn text around, by what is shown in their place."""


class PlainConsole(Console):
    """A console that reads no markup and no emoji codes, and shows control characters instead of sending them.

    Style is given by `rich.text.Text` and by the arguments of `print`.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(markup=False, emoji=False, **settings)

    def render_str(self, text: str, **settings: Any) -> Text:
        """Make text of a string, such as a table's cell, before its width counts."""
        return super().render_str(text.translate(_SHOWN), **settings)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render what is printed, piece by piece; all output comes by here."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else text.translate(_SHOWN), style, control)


def plain_console(json: Path | None = None, **settings: Any) -> PlainConsole:
    """Open a console that leaves the standard output to a JSON document that goes there."""
    console = PlainConsole(stderr=json is not None and str(json) == "-", **settings)
    if not console.is_terminal:  # a file or a pipe is as wide as the table
        console.width = _WIDTH
    return console


def print_error(message: str) -> None:
    """Print what the user got wrong, or what is not there, to the standard error."""
    PlainConsole(stderr=True, soft_wrap=True).print(Text("error: ", style="bold red") + Text(message, style=""))
