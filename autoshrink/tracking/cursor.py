"""What of a search has reached MLflow, kept in the search's folder so that a crash or an outage repeats nothing.

What arrives is noted down in a file of lines beside it: to write everything anew for each of 10,000 candidates would
take longer than to send them.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import BaseModel, Field, PrivateAttr, TypeAdapter, ValidationError

__all__ = ["Cursor", "Entry"]


@dataclass(slots=True)
class Entry:
    """One candidate's run: which content it has, and which it is about to get."""

    run: str | None = None
    intent: str = ""
    """Key of the figures that are being sent."""
    at: int = 0
    """Their time stamp in ms: sending the same figures with the same time stamp twice is sending them once."""
    figures: str = ""
    """Key of the figures that have arrived."""
    tags: str = ""
    """Key of the tags that have arrived."""
    model: str | None = None
    """The MLflow model, once its files have arrived."""


_NOTE = TypeAdapter(tuple[str | None, int, Entry])


class Cursor(BaseModel):
    """``tracking.json``: the search's place in MLflow, and what has arrived there by candidate id."""

    uri: str | None = None
    search: str = Field(default_factory=lambda: uuid.uuid4().hex)
    """Marks the search's runs, so that they are found again when this file was not written in time."""
    experiment: str | None = None
    parent: str | None = None
    runs: dict[int, Entry] = Field(default_factory=dict)

    _path: Path = PrivateAttr()

    @classmethod
    def open(cls, folder: Path) -> Cursor:
        """Read the cursor of a search, or begin one."""
        path = folder / "tracking.json"
        cursor = cls()
        if path.is_file():
            try:
                cursor = cls.model_validate_json(path.read_bytes())
            except ValidationError:  # not ours to trust: begin anew, and send everything again
                path.rename(path.with_suffix(".damaged"))
        cursor._path = path
        for parent, number, entry in _notes(cursor._noted):
            if parent == cursor.parent:  # else it is about another MLflow
                cursor.runs[number] = entry
        return cursor

    def entry(self, number: int) -> Entry:
        """Give the entry of a candidate."""
        return self.runs.setdefault(number, Entry())

    def restart(self, uri: str) -> None:
        """Forget what was sent: another MLflow, or one that has lost the search."""
        self.uri, self.experiment, self.parent, self.runs = uri, None, None, {}
        self.save()

    def note(self, number: int) -> None:
        """Write down where one candidate is."""
        line = json.dumps([self.parent, number, asdict(self.entry(number))])
        with self._noted.open("a", encoding="utf-8") as file:
            file.write(f"\n{line}")  # first the end of a line that its writer may have been killed in the middle of

    def save(self) -> None:
        """Write everything in one step."""
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(self.model_dump(mode="json"), indent=1) + "\n", encoding="utf-8")
        partial.replace(self._path)
        self._noted.unlink(missing_ok=True)

    @property
    def _noted(self) -> Path:
        return self._path.with_suffix(".jsonl")


def _notes(path: Path) -> Iterator[tuple[str | None, int, Entry]]:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
        try:
            yield _NOTE.validate_json(line)
        except ValidationError:
            continue  # torn, or damaged
