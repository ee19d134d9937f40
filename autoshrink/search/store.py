"""What a search keeps: a folder of its own, written so that a crash at any moment loses nothing that was finished."""

from __future__ import annotations

import fcntl
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from autoshrink.core import Artifact, AutoshrinkError, Candidate, Source, SpecError, Target, nearest
from autoshrink.core.catalog import is_file
from autoshrink.core.documents import read_yaml
from autoshrink.models.arrays import read_array
from autoshrink.search.artifact_store import Artifacts, read_here, read_there
from autoshrink.search.disk import enough_room
from autoshrink.search.naming import new_folder
from autoshrink.search.places import DEFAULT_ROOT, Places, store_root

__all__ = ["DEFAULT_ROOT", "Store", "latest", "store_root"]


def latest(root: Path) -> str:
    """Name the search that was begun last.

    Raises:
        SpecError: there is none.
    """
    begun = [path.parent for path in root.glob("*/search.json")]
    if not begun:
        raise SpecError(f"no search in {root}/ yet: start one with 'autoshrink search TARGET'")
    return max(begun, key=lambda folder: ((folder / "search.json").stat().st_mtime, folder.name)).name


class Store:
    """One search's folder: the target, the candidates as they finish, the artifacts, the study and the front."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.artifacts = folder / "artifacts"
        self.study = folder / "study.journal"
        self._answers = folder / "answers"
        self._candidates = folder / "candidates.jsonl"
        self._lines: dict[int, int] = {}
        """Where in that file the latest record of each candidate begins."""
        self._places: Places | None = None

    @classmethod
    def create(cls, root: Path, target: Target, name: str | None = None) -> Store:
        """Begin a search in a new folder, called ``name`` or the target's name and a running number.

        Raises:
            SpecError: a search of this name is there already, or the name can't be a folder's.
            DeviceError: the disk is full.
        """
        with enough_room(root, "search again"):
            folder = new_folder(root, target.name, name)
            try:
                return cls(folder)._begin(target)
            except OSError:
                shutil.rmtree(folder, ignore_errors=True)  # nobody could resume it, and its name would be taken
                raise

    @classmethod
    def open(cls, root: Path, name: str | None = None) -> Store:
        """Open a past search, by default the latest.

        Raises:
            SpecError: there is none of this name.
        """
        name = name or latest(root)
        store = cls(root / name)
        if Path(name).name != name or not is_file(store.folder / "search.json"):
            known = sorted(path.parent.name for path in root.glob("*/search.json"))
            hint = nearest(name, known) if known else "there is none yet"
            raise SpecError(f"no search {name!r} in {root}/; {hint}")
        return store

    @property
    def name(self) -> str:
        """The search's name, which is its folder's."""
        return self.folder.name

    def target(self) -> Target:
        """Read the target as it was when the search began; its paths still start from its original folder."""
        data, _ = read_yaml(self.folder / "target.yaml")
        about = self.read_json("search.json", file=str, folder=str)
        return Target.parse(data, Source(about["file"], folder=Path(about["folder"])))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the search for one driver; the lock goes with the process, however that ends.

        Raises:
            SpecError: another driver is working on this search.
        """
        with (self.folder / "lock").open("a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise SpecError(f"search {self.name!r} is being run by process {file.read().strip()}") from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def candidates(self) -> list[Candidate]:
        """Read the finished candidates; of several records of one candidate the last counts.

        Raises:
            AutoshrinkError: a record other than a torn last line can't be read.
        """
        found = {candidate.id: candidate for candidate in self.records()}
        return [found[number] for number in sorted(found)]

    def records(self) -> Iterator[Candidate]:
        """Read the candidates one by one as they were written; a later record of the same one replaces it.

        Raises:
            AutoshrinkError: a record other than a torn last line can't be read.
        """
        if not self._candidates.exists():
            return
        place = 0
        with self._candidates.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    return  # its writer was killed in the middle of it
                try:
                    candidate = Candidate.model_validate_json(line)
                except ValidationError as error:
                    raise AutoshrinkError(f"{self._candidates}:{number}: damaged record: {error}") from None
                self._lines[candidate.id] = place
                place += len(line)
                yield candidate

    def candidate(self, number: int) -> Candidate:
        """Read one candidate that was added, or that `records` has come by: whoever keeps ids need not keep candidates.

        Raises:
            KeyError: there is none of this id.
        """
        with self._candidates.open("rb") as file:
            file.seek(self._lines[number])
            return Candidate.model_validate_json(file.readline())

    def add(self, candidate: Candidate) -> None:
        """Append a candidate's record and wait until it is on the disk."""
        with self._candidates.open("ab+") as file:
            end = file.seek(0, os.SEEK_END)
            if end:
                file.seek(end - 1)
                if file.read(1) != b"\n":
                    end = self._drop_torn_line(file.fileno())
            file.write(candidate.model_dump_json().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._lines[candidate.id] = end

    def artifact_folder(self, candidate: Candidate) -> Path:
        """Give the folder of a candidate's files, fetched where this machine has them no more.

        Raises:
            AutoshrinkError: the candidate has none, or they are damaged.
        """
        if candidate.artifact is None:
            raise AutoshrinkError(f"candidate {candidate.id} has no artifact: {candidate.outcome}")
        return self._files().fetch(candidate.artifact)

    def keep_artifact(self, key: str, files: Mapping[str, bytes]) -> Path:
        """Write an artifact's files to its place in one step; the same content is kept once."""
        return self._files().keep(key, files)

    def find_artifact(self, artifact: Artifact) -> dict[str, bytes] | None:
        """Read an artifact's files from this search, or from another one beside it; None where nobody has them."""
        stores = [self, *(Store(path.parent) for path in sorted(self.folder.parent.glob("*/search.json")))]
        found = read_here(artifact, (store.artifacts for store in stores))
        return read_there(artifact, (store.places().artifacts for store in stores)) if found is None else found

    def places(self) -> Places:
        """Say where artifacts and study are, with passwords where they are known."""
        if self._places is None:
            self._places = Places.kept(self.folder / "search.json")
        return self._places

    def settle(self, given: Places) -> Places:
        """Keep where artifacts and study are, without passwords, and bring the artifacts there.

        Raises:
            SpecError: the study is elsewhere already.
            StorageGone: the place for artifacts does not answer.
        """
        about = self.read_json("search.json") or {}
        self._places = given.over(self.places(), self.name, begun=bool(self.candidates()))
        if self._places != Places():
            self.write_json("search.json", about | self._places.bare())
        self._files().bring()
        return self._places

    def _files(self) -> Artifacts:
        return Artifacts(self.artifacts, self.places().artifacts)

    def keep_answers(self, key: str, answers: np.ndarray) -> None:
        """Keep what an artifact answered on the test split, by its key."""
        self._answers.mkdir(exist_ok=True)
        partial = self._answers / f"{key}.partial"
        content = io.BytesIO()  # NumPy's own way to a file does not say that the disk is full
        np.save(content, answers, allow_pickle=False)
        partial.write_bytes(content.getvalue())
        partial.replace(self._answers / f"{key}.npy")

    def answers(self, key: str) -> np.ndarray | None:
        """Read what an artifact answered on the test split; None where that was never asked, or is damaged."""
        try:
            return read_array(self._answers / f"{key}.npy")
        except SpecError:
            return None

    def keep_pick(self, number: int) -> None:
        """Keep which candidate was taken last."""
        self.write_json("picked.json", {"candidate": number})

    def picked(self) -> int | None:
        """Read which candidate was taken last; None when none was."""
        kept = self.read_json("picked.json", candidate=int)
        return None if kept is None else int(kept["candidate"])

    def write(self, name: str, text: str) -> Path:
        """Write a small file in one step: a reader sees the old text or the new one."""
        path = self.folder / name
        partial = path.with_suffix(path.suffix + ".partial")
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        return path

    def write_json(self, name: str, data: object) -> Path:
        """Write a small JSON file in one step."""
        return self.write(name, json.dumps(data, indent=1) + "\n")

    def read_json(self, name: str, **needed: type) -> Any:
        """Read a JSON file; None when there is none.

        Args:
            name: the file.
            needed: keys that it must have, with the type of their values.

        Raises:
            AutoshrinkError: it is damaged.
        """
        path = self.folder / name
        if not path.is_file():
            return None
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise AutoshrinkError(f"{path}: damaged: {error}") from None
        lacking = [key for key, kind in needed.items() if not isinstance(data, dict) or type(data.get(key)) is not kind]
        if lacking:
            raise AutoshrinkError(f"{path}: damaged: it does not say {' and '.join(lacking)}")
        return data

    def _begin(self, target: Target) -> Store:
        self.artifacts.mkdir()
        self.write("target.yaml", target.to_yaml())
        about = {
            "name": self.name,
            "target": target.name,
            "file": target.source.name,
            "folder": str(target.source.folder),
        }
        self.write_json("search.json", about)
        return self

    def _drop_torn_line(self, descriptor: int) -> int:
        end = self._candidates.read_bytes().rfind(b"\n") + 1
        os.ftruncate(descriptor, end)
        return end
