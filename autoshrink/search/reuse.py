"""What a search takes over from earlier ones of the same model, and leaves for the next: costs, weights, results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

from autoshrink.core import Candidate, Limits, Sensitivity, Target, judge
from autoshrink.core.documents import Frozen
from autoshrink.core.recipe import Scalar
from autoshrink.search.cache import Cache
from autoshrink.search.flight import Lesson, Sketch
from autoshrink.search.store import Store

__all__ = ["Result", "Reuse"]

_EARLIER = "an earlier search of this model on this device"
_MOST = 1000
"""Of the latest results so many are looked at."""


class Result(Frozen):
    """What an earlier search measured, and what the sampler has to choose for its recipe."""

    params: dict[str, Scalar]
    candidate: Candidate


class Reuse:
    """Looks up and keeps, by what made it: recipe, device and seed."""

    def __init__(self, cache: Cache, place: str, seed: int, *, fresh: bool = False) -> None:
        """Begin.

        Args:
            cache: the model's.
            place: the key of the device's fingerprint, without which no cost counts.
            seed: the recovery's.
            fresh: whether costs and results count only if they are kept from now on.
        """
        self._cache = cache
        self._place = place
        self._seed = seed
        self._own: set[str] | None = set() if fresh else None
        """The costs and results that count; None for all."""
        self._alike: dict[str, str] = {}
        """By structure the recipe that was measured; what it costs takes ten times the memory, and is in the cache."""
        self._starts: dict[str, str] = {}

    def sketch(self, skeleton: str) -> Sketch | None:
        """Look up what an untrained recipe costs, by its key."""
        kept = self._counted("costs", f"{self._place}-{skeleton}.json")
        return Sketch.model_validate_json(kept) if kept is not None else None

    def alike(self, structure: str) -> Sketch | None:
        """Look up what an artifact of this structure costs, if this search measured one."""
        skeleton = self._alike.get(structure) if structure else None
        return self.sketch(skeleton) if skeleton is not None else None

    def keep_sketch(self, skeleton: str, sketch: Sketch) -> None:
        """Keep what an untrained recipe costs on this device."""
        self._alike.setdefault(sketch.artifact.structure, skeleton)
        self._keep_own("costs", f"{self._place}-{skeleton}.json", sketch.model_dump_json().encode())

    def keep_start(self, structure: str, start: str | None) -> None:
        """Keep what structure steps, by their key, end at: settings that differ a little may end at the same model."""
        if start is not None and self._starts.get(structure) != start:
            self._starts[structure] = start
            self._cache.keep("starts", f"{structure}-{self._seed}", start.encode())

    def training(self, lesson: Lesson) -> str:
        """Name a training by the model that it begins with: where the names are equal, the weights are."""
        structure, recovery = lesson
        if structure not in self._starts:
            kept = self._cache.read("starts", f"{structure}-{self._seed}")
            self._starts[structure] = kept.decode() if kept is not None else structure
        return f"{self._starts[structure]}-{recovery}-{self._seed}"

    def recovered(self, lesson: Lesson) -> bytes | None:
        """Look up the weights that the whole of a recipe's training gave."""
        return self._cache.read("weights", f"{self.training(lesson)}.safetensors")

    def keep_recovered(self, lesson: Lesson, weights: bytes) -> None:
        """Keep the weights that the whole of a recipe's training gave."""
        self._cache.keep("weights", f"{self.training(lesson)}.safetensors", weights)

    def sensitivity(self) -> Sensitivity | None:
        """Look up the sensitivity table of the model."""
        kept = self._cache.read("sensitivity", f"{self._seed}.json")
        return Sensitivity.model_validate_json(kept) if kept is not None else None

    def keep_sensitivity(self, table: Sensitivity) -> None:
        """Keep the sensitivity table of the model."""
        self._cache.keep("sensitivity", f"{self._seed}.json", table.model_dump_json().encode())

    def finished(self, key: str, store: Store) -> Candidate | None:
        """Take over what an earlier search with the same seed found for a recipe, by its key, with the files.

        Returns:
            The candidate as that search measured it; None where it, or a file of it, is gone.
        """
        kept = self._counted("results", self._result(key))
        candidate = Result.model_validate_json(kept).candidate if kept is not None else None
        files = store.find_artifact(candidate.artifact) if candidate and candidate.artifact else None
        if candidate is None or candidate.artifact is None or files is None:
            return None
        store.keep_artifact(candidate.artifact.key, files)
        conditions = {**candidate.measurement.conditions, "measured_by": _EARLIER}
        measurement = candidate.measurement.model_copy(update={"conditions": conditions})
        return candidate.model_copy(update={"measurement": measurement, "seconds": {}})

    def keep_result(self, params: Mapping[str, Scalar], candidate: Candidate) -> None:
        """Keep a candidate that was measured, as it was before the test split was asked."""
        if candidate.outcome == "measured":
            result = Result(params=dict(params), candidate=candidate)
            self._keep_own("results", self._result(candidate.key), result.model_dump_json().encode())

    def params(self, key: str) -> Mapping[str, Scalar] | None:
        """Look up what the sampler has to choose for a recipe that was measured, by its key."""
        kept = self._cache.read("results", self._result(key))
        return Result.model_validate_json(kept).params if kept is not None else None

    def best_results(self, target: Target, limits: Limits) -> list[Result]:
        """Choose what to begin with: what was measured on this device and keeps the limits, front after front.

        No more than half of the candidates that are wanted, so that the search still looks for what nobody tried.
        """
        keys = islice((key for key in self._cache.keys("results") if key.startswith(f"{self._place}-")), _MOST)
        kept = [content for key in keys if (content := self._counted("results", key)) is not None]
        results = {number: Result.model_validate_json(content) for number, content in enumerate(kept)}
        return list(islice(_fronts(results, limits, target), target.search.candidates // 2))

    def _counted(self, kind: str, key: str) -> bytes | None:
        return self._cache.read(kind, key) if self._own is None or key in self._own else None

    def _keep_own(self, kind: str, key: str, content: bytes) -> None:
        self._cache.keep(kind, key, content)
        if self._own is not None:
            self._own.add(key)

    def _result(self, key: str) -> str:
        return f"{self._place}-{key}-{self._seed}.json"


def _fronts(results: dict[int, Result], limits: Limits, target: Target) -> Iterator[Result]:
    while results:
        numbered = [result.candidate.model_copy(update={"id": number}) for number, result in results.items()]
        members = judge(numbered, target.metrics, limits).members
        if not members:
            return
        for member in members:
            yield results.pop(member.id)
