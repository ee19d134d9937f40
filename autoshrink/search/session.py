"""What the stages of a search share: the target, the workers, and the candidates as they finish."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from autoshrink.core import (
    AutoshrinkError,
    Candidate,
    DeviceError,
    Front,
    Judged,
    Limits,
    Recipe,
    Sensitivity,
    SpecError,
    Tally,
    Target,
)
from autoshrink.core.candidate import Outcome
from autoshrink.search import work
from autoshrink.search.clock import Clock
from autoshrink.search.database import Database
from autoshrink.search.outstanding import LOST
from autoshrink.search.report import front_of, limits_for
from autoshrink.search.reuse import Reuse
from autoshrink.search.store import Store
from autoshrink.search.watcher import Progress, Silent, Watcher
from autoshrink.search.workers import Pool, Work

__all__ = ["TRIES", "Session", "Tracking", "WorkFailed"]

TRIES = 3
"""How often a device is asked before it counts as gone."""
_UNMEASURED = "the original model was not measured: run the search again with --resume"


class WorkFailed(AutoshrinkError):
    """A piece of work failed that was waited for by itself."""


class Tracking(Protocol):
    """Where finished candidates are logged; it never slows or breaks the search."""

    def start(self, fingerprint: dict[str, Any], baseline: Candidate, limits: Limits) -> None:
        """Begin with the device as it is today, the original model's figures, and the limits that follow from them."""

    def log(self, candidate: Candidate) -> None:
        """Log one finished candidate."""


@dataclass
class Session:
    """One sitting of a search, new or resumed."""

    target: Target
    store: Store
    reuse: Reuse
    pool: Pool
    tracking: Tracking
    watcher: Watcher = field(default_factory=Silent)
    database: Database | None = None
    """Holds the study; None where that is in the store."""
    running: int = 0
    """Candidates in work."""
    reach: str = ""
    """What the space can reach on this target, in words; empty until it is known."""

    def __post_init__(self) -> None:
        self.clock = Clock(self.store.read_json("seconds.json"))
        self.until = self.target.search.time
        """Seconds of this sitting after which no candidate is begun; None for no end."""
        self.by_key: dict[str, int] = {}
        """Every recipe that is finished, with its candidate's number."""
        self.last = 0
        """The highest number of a candidate."""
        self.tally: Tally | None = None
        """The standing of what is finished; None before the original model is measured."""
        self._original: Candidate | None = None
        self._outcomes: list[Outcome] = []
        self._latest: Judged | None = None
        self._stage = ""
        for candidate in self.store.candidates():
            self._take(candidate)

    @property
    def original(self) -> Candidate:
        """The original model.

        Raises:
            AutoshrinkError: it was not measured yet.
        """
        if self._original is None:
            raise AutoshrinkError(_UNMEASURED)
        return self._original

    @property
    def standings(self) -> Tally:
        """The standing of what is finished.

        Raises:
            AutoshrinkError: the original was not measured yet.
        """
        if self.tally is None:
            raise AutoshrinkError(_UNMEASURED)
        return self.tally

    @property
    def in_time(self) -> bool:
        """Whether there is time for another candidate."""
        return self.until is None or self.clock.elapsed < self.until

    @property
    def tried(self) -> int:
        """How many recipes have been tried, the original not counted."""
        return max(len(self.by_key) - 1, 0)

    def front(self) -> Front:
        """Judge what is finished, from the records."""
        return front_of(self.target, self.store.candidates())

    def candidate(self, key: str) -> Candidate | None:
        """Look up the finished candidate of a recipe, by its key."""
        number = self.by_key.get(key)
        return self.store.candidate(number) if number is not None else None

    def all_fail(self) -> str:
        """Say so when the first five candidates or ten in a row failed; empty when not.

        Those whose workers were lost don't count: the next ones need not be.
        """
        for group, size, words in (
            (self._outcomes[:5], 5, "the first five candidates"),
            (self._outcomes[-10:], 10, "ten in a row"),
        ):
            if group == ["failed"] * size:
                return words
        return ""

    def keep_time(self) -> None:
        """Write down where the time went, so that a resumed search adds to it."""
        self.store.write_json("seconds.json", self.clock.totals())

    def finish(self, candidate: Candidate) -> None:
        """Keep a finished candidate, or a newer version of it."""
        self.store.add(candidate)
        self._take(candidate)
        if candidate.id:
            self.tracking.log(candidate)

    def _take(self, candidate: Candidate) -> None:
        lost = candidate.outcome == "failed" and candidate.reason.startswith(LOST)
        if candidate.id and candidate.key not in self.by_key and not lost:
            self._outcomes.append(candidate.outcome)
        self.by_key[candidate.key] = candidate.id
        self.last = max(self.last, candidate.id)
        if candidate.id == 0:
            # What the original scores moves the limits, and with them where everybody stands.
            self._original = candidate
            limits = limits_for(self.target, candidate)
            self.tally = Tally(self.target.metrics, limits, self.store.records())
        if self.tally is not None:
            self._latest = self.tally.add(candidate)

    def record(
        self, number: int, recipe: Recipe, made: work.Compressed, measured: work.Measured, seconds: dict[str, float]
    ) -> Candidate:
        """Keep an artifact's files and put its figures together."""
        self.store.keep_artifact(made.artifact.key, made.files)
        if measured.answers is not None:
            self.store.keep_answers(made.artifact.key, measured.answers)
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

    def sensitivity(self, asked: Work) -> Sensitivity | None:
        """Wait for what the layers bear, and keep it; None where that was ended from outside, and is done without."""
        try:
            table: Sensitivity = self.result(asked, "what the layers bear can't be measured")
        except WorkFailed:
            if self.pool.take(asked).cut:
                return None
            raise
        self.reuse.keep_sensitivity(table)
        return table

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
            WorkFailed: the work failed.
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
            raise WorkFailed(f"{what}:\n{answer.reason}")
        return answer.result

    def on_device(self, ask: Callable[[], Work], asked: Work | None = None) -> work.Measured:
        """Wait for a measurement that the search can't go on without; a device that fails is asked again.

        Args:
            ask: hands the work out.
            asked: the work, where it was handed out already.

        Raises:
            DeviceError: it fails every time.
            WorkFailed: the artifact does.
        """
        for attempt in range(1, TRIES + 1):
            try:
                work_of, asked = asked or ask(), None
                measured: work.Measured = self.result(work_of, "the artifact can't be run on the device")
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
                tally=self.tally,
                latest=self._latest,
                reach=self.reach,
            )
        )

    def _left(self, tried: int) -> float | None:
        settings = self.target.search
        by_time = None if self.until is None else max(self.until - self.clock.elapsed, 0.0)
        if tried < 2:
            return by_time
        by_count = (settings.candidates - tried) * self.clock.elapsed / tried
        return by_count if by_time is None else min(by_count, by_time)
