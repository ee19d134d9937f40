"""What a job's search has in the store: how far it is, its front, its files. Nothing heavy is imported."""

from __future__ import annotations

import json
import tempfile
import threading
import zipfile
from pathlib import Path
from typing import IO, Any

from autoshrink.core import AutoshrinkError, Candidate, Front
from autoshrink.search.report import front_of, load_front
from autoshrink.search.store import Store

__all__ = ["NotYetError", "Records", "UnknownError"]

_MOST = 256
"""Searches whose progress is remembered."""


class NotYetError(AutoshrinkError):
    """What is asked for is not there yet."""


class UnknownError(AutoshrinkError):
    """What is asked for is not there."""


class Records:
    """Reads the folders of searches."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._known: dict[str, tuple[int, dict[str, int]]] = {}

    def store(self, job: str) -> Store:
        """Open the folder of a job's search.

        Raises:
            NotYetError: it has not begun.
        """
        store = Store(self._root / job)
        if not (store.folder / "search.json").is_file():
            raise NotYetError(f"the search of job {job} has not begun yet")
        return store

    def progress(self, job: str) -> dict[str, int]:
        """Count the candidates that are finished, without the original model, and those on the front."""
        file = self._root / job / "candidates.jsonl"
        size = file.stat().st_size if file.exists() else 0
        with self._lock:
            known = self._known.get(job)
            if known is not None and known[0] == size:
                return known[1]
        counted = self._count(job) if size else {"finished": 0, "front": 0}
        with self._lock:
            self._known[job] = (size, counted)
            if len(self._known) > _MOST:
                del self._known[next(iter(self._known))]
        return counted

    def front(self, job: str, ended: bool) -> dict[str, Any]:
        """Give the search's document: what it left behind at its end, else judged as it stands.

        Raises:
            NotYetError: nothing was measured yet.
        """
        kept = self.store(job).read_json("report.json", search=str) if ended else None
        return dict(kept) if kept is not None else self.judged(job)[1]

    def judged(self, job: str) -> tuple[Front, dict[str, Any]]:
        """Judge a search's candidates as they are.

        Raises:
            NotYetError: nothing was measured yet.
        """
        store = self.store(job)
        first = next(iter(store.records()), None)
        if first is None or first.id != 0:
            raise NotYetError(f"nothing was measured yet in the search of job {job}")
        _, front, document = load_front(store)
        return front, document

    def candidate(self, job: str, number: int) -> Candidate:
        """Find a candidate that has files.

        Raises:
            UnknownError: there is none of this id, or it has no files.
        """
        found = [candidate for candidate in self.store(job).candidates() if candidate.id == number]
        if not found:
            raise UnknownError(f"job {job} has no candidate {number}")
        if found[0].artifact is None:
            raise UnknownError(f"candidate {number} has no files: it was {found[0].outcome}, {found[0].reason}")
        return found[0]

    def artifact(self, job: str, number: int) -> IO[bytes]:
        """Pack a candidate's files, its recipe and its figures.

        Raises:
            UnknownError: there is none of this id, or it has no files.
        """
        candidate, store = self.candidate(job, number), self.store(job)
        folder = store.artifact_folder(candidate)
        packed = tempfile.TemporaryFile()
        figures = candidate.model_dump(mode="json", exclude={"reason", "artifact"})
        figures |= {"search": job, "hardware": store.read_json("hardware.json") or {}}
        try:
            with zipfile.ZipFile(packed, "w") as archive:
                for name in candidate.artifact.files if candidate.artifact else ():
                    archive.write(folder / name, name)
                archive.writestr("recipe.yaml", candidate.recipe.to_yaml())
                archive.writestr("figures.json", json.dumps(figures, indent=1) + "\n")
        except OSError as error:
            packed.close()
            raise UnknownError(f"the files of candidate {number} are gone: {error.strerror}") from None
        packed.seek(0)
        return packed

    def _count(self, job: str) -> dict[str, int]:
        store = Store(self._root / job)
        try:
            candidates = store.candidates()
            members = front_of(store.target(), candidates).members if candidates and candidates[0].id == 0 else []
        except AutoshrinkError:
            return {"finished": 0, "front": 0}  # a damaged record; who asks for the front is told
        return {"finished": sum(candidate.id != 0 for candidate in candidates), "front": len(members)}
