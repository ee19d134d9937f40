"""The pool's work done here and now: the same functions on the same arguments, without processes to look into."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoshrink.core import COSTS, Measurement, Recipe, Refusal, Target
from autoshrink.search import work
from autoshrink.search.nodes import place_of
from autoshrink.search.workers import Answer


class InProcess:
    """Stands where `autoshrink.search.workers.Pool` does; every piece of work is finished when it is handed out."""

    devices = 1

    def __init__(self, target: Target) -> None:
        self.place = place_of(target.hardware)
        self.fingerprint: Mapping[str, str] = {}
        self._target = target
        self._scratch = tempfile.TemporaryDirectory(prefix="autoshrink-test-")
        self._answers: dict[int, Answer] = {}
        self.compressed: list[tuple[Recipe, int | None, bool]] = []
        """Each recipe that was compressed, its rung, and whether its weights were known."""

    def compress(self, recipe: Recipe, rung: int | None = None, known: bytes | None = None) -> int:
        self.compressed.append((recipe, rung, known is not None))
        return self._keep(work.compress_recipe, self._target, recipe, rung, known)

    def sensitivity(self) -> int:
        return self._keep(work.sensitivity, self._target)

    def measure(
        self,
        made: work.Compressed,
        reference: work.Compressed | None = None,
        original: Measurement | None = None,
        splits: tuple[str, ...] = ("validation",),
        wants: tuple[str, ...] = tuple(COSTS),
        effort: str = "normal",
    ) -> int:
        other = (reference.artifact, reference.files) if reference else None
        what = (self._target, made.artifact, made.files, other, original, splits, wants, effort)
        return self._keep(work.measure_artifact, *what, scratch=Path(self._scratch.name))

    def warm_up(self) -> None:
        pass

    def wait(self, running: list[int], timeout: float) -> list[int]:
        return running[:1]

    def take(self, ended: int) -> Answer:
        return self._answers.pop(ended)

    def close(self) -> None:
        self._scratch.cleanup()

    def _keep(self, function: Any, *arguments: Any, **named: Any) -> int:
        number = len(self._answers) + 1
        while number in self._answers:
            number += 1
        try:
            self._answers[number] = Answer("done", function(*arguments, **named))
        except Refusal as refusal:
            self._answers[number] = Answer("refused", reason=str(refusal))
        return number
