"""What is waiting or in work, on the disk: a resumed search asks it first."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from autoshrink.core.recipe import Scalar

__all__ = ["Unfinished"]

Params = dict[str, Scalar]
_ENTRY: TypeAdapter[tuple[str] | tuple[str, Params]] = TypeAdapter(tuple[str] | tuple[str, Params])


class Unfinished:
    """A file of beginnings and ends, a line each, that is written anew when it is opened.

    While a search runs it only grows, and is not synced: a crash of the machine may lose the last proposals, which were
    only proposals.
    """

    def __init__(self, path: Path) -> None:
        self.earlier = list(_read(path)) if path.exists() else None
        """The parameters of what an earlier sitting left, in the order in which it was begun; None for a new search."""
        self._path = path

    def renew(self, waiting: Iterable[tuple[str, Params]]) -> None:
        """Put what is waiting now in the place of what an earlier sitting left."""
        partial = self._path.with_suffix(".partial")
        partial.write_text("".join(_line([key, params]) for key, params in waiting), encoding="utf-8")
        partial.replace(self._path)

    def begin(self, key: str, params: Mapping[str, Scalar]) -> None:
        """Note that a recipe is waiting or in work; one that is begun twice has to end twice."""
        self._write([key, params])

    def end(self, key: str) -> None:
        """Note that it is no longer."""
        self._write([key])

    def _write(self, entry: list[Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(_line(entry))


def _line(entry: list[Any]) -> str:
    return json.dumps(entry) + "\n"


def _read(path: Path) -> Iterator[Params]:
    begun: dict[str, list[Params]] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            key, *params = _ENTRY.validate_json(line)
        except ValidationError:
            break  # its writer was killed in the middle of it
        if params:
            begun.setdefault(key, []).append(params[0])
        elif key in begun:
            begun[key].pop()
            if not begun[key]:
                del begun[key]
    return (params for waiting in begun.values() for params in waiting)
