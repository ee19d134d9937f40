"""What the stages of a search share: the target, the workers, and the candidates as they finish."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from autoshrink.core import AutoshrinkError, Candidate, DeviceError, Front, Recipe, SpecError, Target
from autoshrink.models.recovery import RUNGS
from autoshrink.search import work
from autoshrink.search.cache import Cache
from autoshrink.search.clock import Clock
from autoshrink.search.flight import Sketch
from autoshrink.search.report import front_of
from autoshrink.search.store import Store
from autoshrink.search.watcher import Progress, Silent, Watcher
from autoshrink.search.workers import Pool, Work

__all__ = ["TRIES", "Session", "Tracking"]

TRIES = 3
"""How often a device is asked before it counts as gone."""


class Tracking(Protocol):
    """Where finished candidates are logged; it never slows or breaks the search."""

    def start(self, fingerprint: dict[str, Any], baseline: Candidate) -> None:
        """Begin with the device as it is today and the original model's figures."""

    def log(self, candidate: Candidate) -> None:
        """Log one finished candidate."""


@dataclass
class Session:
    """One sitting of a search, new or resumed."""

    target: Target
    store: Store
    cache: Cache
    pool: Pool
    tracking: Tracking
    watcher: Watcher = field(default_factory=Silent)
    running: int = 0
    """Candidates in work."""
    reach: str = ""
    """What the space can reach on this target, in words; empty until it is known."""

    def __post_init__(self) -> None:
        self.clock = Clock(self.store.read_json("seconds.json"))
        self.known = {candidate.id: candidate for candidate in self.store.candidates()}
        self.by_key = {candidate.key: candidate.id for candidate in self.known.values()}
        self.place = (self.store.read_json("hardware.json") or {}).get("key", "")
        self._alike: dict[str, Sketch] = {}
        self._latest: Candidate | None = None
        self._stage = ""

    @property
    def candidates(self) -> list[Candidate]:
        """All finished candidates; the first is the original model."""
        return [self.known[number] for number in sorted(self.known)]

    @property
    def tried(self) -> int:
        """How many recipes have been tried, the original not counted."""
        return max(len(self.known) - 1, 0)

    def front(self) -> Front:
        """Judge what is finished."""
        return front_of(self.target, self.candidates)

    def keep_time(self) -> None:
        """Write down where the time went, so that a resumed search adds to it."""
        self.store.write_json("seconds.json", self.clock.totals())

    def finish(self, candidate: Candidate) -> None:
        """Keep a finished candidate, or a newer version of it."""
        self.store.add(candidate)
        self.known[candidate.id] = self._latest = candidate
        self.by_key[candidate.key] = candidate.id
        if candidate.id:
            self.tracking.log(candidate)

    def record(
        self, number: int, recipe: Recipe, made: work.Compressed, measured: work.Measured, seconds: dict[str, float]
    ) -> Candidate:
        """Keep an artifact's files and put its figures together."""
        self.store.keep_artifact(made.artifact.key, made.files)
        return Candidate(
            id=number,
            recipe=recipe,
            outcome="measured",
            artifact=made.artifact,
            measurement=measured.measurement,
            accuracy=measured.accuracy,
            facts=made.facts,
            seconds=seconds,
        )

    def sketch(self, skeleton: str) -> Sketch | None:
        """Look up what an untrained recipe costs, by its key; this search or an earlier one measured it here."""
        kept = self.cache.read("costs", f"{self.place}-{skeleton}.json")
        return Sketch.model_validate_json(kept) if kept is not None else None

    def alike(self, structure: str) -> Sketch | None:
        """Look up what an artifact of this structure costs."""
        return self._alike.get(structure) if structure else None

    def keep_sketch(self, skeleton: str, sketch: Sketch) -> None:
        """Keep what an untrained recipe costs on this device."""
        self._alike.setdefault(sketch.artifact.structure, sketch)
        self.cache.keep("costs", f"{self.place}-{skeleton}.json", sketch.model_dump_json().encode())

    def recovered(self, prefix: str) -> tuple[int, bytes] | None:
        """Look up the furthest weights of a structure and its recovery, and how many rungs they have behind them."""
        for rungs in range(len(RUNGS), 0, -1):
            kept = self.cache.read("weights", self._weights(prefix, rungs))
            if kept is not None:
                return rungs, kept
        return None

    def keep_recovered(self, prefix: str, rungs: int, weights: bytes) -> None:
        """Keep the weights that some rungs of a recovery gave."""
        self.cache.keep("weights", self._weights(prefix, rungs), weights)

    def _weights(self, prefix: str, rungs: int) -> str:
        return f"{prefix}-{self.target.search.seed}-{rungs}.safetensors"

    def stored(self, candidate: Candidate) -> work.Compressed:
        """Read a candidate's artifact back.

        Raises:
            AutoshrinkError: the candidate has none.
        """
        if candidate.artifact is None:
            raise AutoshrinkError(f"candidate {candidate.id} has no artifact: {candidate.outcome}")
        folder = self.store.artifact_folder(candidate)
        files = {name: (folder / name).read_bytes() for name in candidate.artifact.files}
        return work.Compressed(candidate.artifact, files, candidate.facts, {})

    def result(self, ref: Work, what: str) -> Any:
        """Wait for one piece of work that the search can't go on without.

        Raises:
            SpecError: the user's model or data is the reason why there is no result.
            DeviceError: the device is.
            AutoshrinkError: the work failed.
        """
        while not self.pool.wait([ref], timeout=1.0):
            self.show()
        answer = self.pool.take(ref)
        if answer.kind == "input":
            raise SpecError(answer.reason)
        if answer.kind == "refused":
            raise self.target.source.error(("model",), f"{what}: {answer.reason}")
        if answer.kind == "device":
            raise DeviceError(answer.reason)
        if answer.kind == "failed":
            raise AutoshrinkError(f"{what}:\n{answer.reason}")
        return answer.result

    def on_device(self, ask: Callable[[], Work]) -> work.Measured:
        """Wait for a measurement that the search can't go on without; a device that fails is asked again.

        Raises:
            DeviceError: it fails every time.
        """
        for attempt in range(1, TRIES + 1):
            try:
                measured: work.Measured = self.result(ask(), "the artifact can't be run on the device")
                return measured
            except DeviceError as error:
                if attempt == TRIES:
                    raise DeviceError(
                        f"{error} (asked {TRIES} times); go on later with --resume {self.store.name}"
                    ) from None
        raise AssertionError("unreachable")

    def show(self, stage: str | None = None) -> None:
        """Tell the watcher where the search is."""
        self._stage = stage or self._stage
        self.watcher.update(
            Progress(
                stage=self._stage,
                finished=self.tried,
                wanted=self.target.search.candidates,
                running=self.running,
                elapsed=self.clock.elapsed,
                left=self._left(self.tried),
                front=self.front() if self.known else None,
                latest=self._latest,
                reach=self.reach,
            )
        )

    def _left(self, tried: int) -> float | None:
        settings = self.target.search
        by_time = None if settings.time is None else max(settings.time - self.clock.elapsed, 0.0)
        if tried < 2:
            return by_time
        by_count = (settings.candidates - tried) * self.clock.elapsed / tried
        return by_count if by_time is None else min(by_count, by_time)
