"""Optuna's journal: the complete record of a search's trials, of which nothing is kept in memory."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.samplers import RandomSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial

from autoshrink.core import AutoshrinkError

__all__ = ["Direction", "Journal"]

Direction = Literal["maximize", "minimize"]

optuna.logging.set_verbosity(optuna.logging.ERROR)


class Journal:
    """The file that `optuna-dashboard` reads and that a search resumes from: a line for each finished trial.

    The lines are Optuna's own, written through its journal storage, of which none is kept: its replay would hold every
    trial in memory.
    """

    def __init__(self, path: Path, name: str, directions: Sequence[Direction]) -> None:
        """Open the file, or begin it.

        Raises:
            AutoshrinkError: it is damaged, but for a torn last line.
        """
        self._name = name
        _check(path)
        self._file = JournalFileBackend(str(path), _HeldAlready(str(path)))
        try:
            self._trials = optuna.create_study(
                storage=JournalStorage(self._file), study_name=name, directions=list(directions), load_if_exists=True
            ).get_trials(deepcopy=False)
        except (
            KeyError,
            TypeError,
            ValueError,
            AssertionError,
        ) as error:
            # Every record is whole, but one makes no sense.
            raise AutoshrinkError(
                f"{path}: damaged: {type(error).__name__}: {error}; without that file the search goes on: the "
                "candidates are elsewhere"
            ) from None
        self._head = next(iter(self._file.read_logs(0)))

    def take(self) -> list[FrozenTrial]:
        """Hand over the trials of earlier sittings, once."""
        trials, self._trials = self._trials, []
        return trials

    def add(self, trial: FrozenTrial) -> None:
        """Append a finished trial and wait until it is on the disk."""
        storage = JournalStorage(_OneTrial(self._file, self._head))
        optuna.load_study(study_name=self._name, storage=storage, sampler=_RANDOM).add_trial(trial)


class _HeldAlready(JournalFileOpenLock):
    """No lock: the store lets one driver onto a search, and Optuna's own outlives a driver that is killed."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        return None


class _OneTrial(BaseJournalBackend):
    """Shows Optuna a journal with a study and no trial, and passes what it adds on to the file."""

    def __init__(self, file: JournalFileBackend, head: dict[str, Any]) -> None:
        self._file = file
        self._logs = [head]

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        return iter(self._logs[log_number_from:])

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self._file.append_logs(logs)
        self._logs += logs


_STUDY, _TRIAL = 0, 4
"""Optuna's numbers for the two records that a search writes."""
_NEEDED = {_STUDY: {"study_name", "directions"}, _TRIAL: {"study_id", "state", "datetime_start", "distributions"}}
_RANDOM = RandomSampler()
"""For studies that nothing is asked of."""


def _check(path: Path) -> None:
    """Cut a record that its writer was killed in the middle of: Optuna would write the next one behind it.

    Raises:
        AutoshrinkError: another one is damaged.
    """
    if not path.exists():
        return
    content = path.read_bytes()
    if (end := content.rfind(b"\n") + 1) < len(content):
        os.truncate(path, end)
    for number, line in enumerate(content[:end].split(b"\n")[:-1], start=1):
        if not _whole(line, first=number == 1):
            what = "line" if number > 1 else "file"  # the first line says what study the others are of
            raise AutoshrinkError(
                f"{path}:{number}: damaged record; without that {what} the search goes on: the candidates are elsewhere"
            )


def _whole(line: bytes, *, first: bool) -> bool:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return False
    if not isinstance(record, dict) or type(code := record.get("op_code")) is not int:
        return False
    if first and code != _STUDY:  # each sitting writes it again
        return False
    return record.keys() >= _NEEDED.get(code, set())
