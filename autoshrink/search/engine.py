"""The main job: draw recipes, compress and measure them side by side, and confirm the front at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from autoshrink.core import (
    Artifact,
    AutoshrinkError,
    Candidate,
    DeviceError,
    Encoding,
    Front,
    Recipe,
    SpecError,
    Target,
)
from autoshrink.search import work
from autoshrink.search.clock import Clock
from autoshrink.search.report import blind, front_of, limits_for
from autoshrink.search.sampler import Draw, Sampler
from autoshrink.search.store import Store
from autoshrink.search.watcher import Progress, Silent, Watcher
from autoshrink.search.workers import Answer, Pool, Work

__all__ = ["Search", "Tracking"]

_TRIES = 3
"""How often a device is asked before it counts as gone."""
_REPEATS = 300
"""Draws in a row that were all known: the space is exhausted then."""


class Tracking(Protocol):
    """Where finished candidates are logged; it never slows or breaks the search."""

    def start(self, fingerprint: dict[str, Any], baseline: Candidate) -> None:
        """Begin with the device as it is today and the original model's figures."""

    def log(self, candidate: Candidate) -> None:
        """Log one finished candidate."""


@dataclass
class _Flight:
    """A candidate in work: compressed first, then measured."""

    id: int
    draw: Draw
    made: work.Compressed | None = None
    tries: int = 0


@dataclass
class Search:
    """One search, from its first draw to its confirmed front."""

    target: Target
    store: Store
    pool: Pool
    accepts: Callable[[Encoding], str]
    tracking: Tracking
    watcher: Watcher = field(default_factory=Silent)

    def __post_init__(self) -> None:
        self.clock = Clock(self.store.read_json("seconds.json"))
        self._candidates = {candidate.id: candidate for candidate in self.store.candidates()}
        self._reference: work.Compressed | None = None
        self._running: dict[Work, _Flight] = {}
        self._latest: Candidate | None = None
        self._stage = ""

    @property
    def candidates(self) -> list[Candidate]:
        """All finished candidates; the first is the original model."""
        return [self._candidates[number] for number in sorted(self._candidates)]

    def front(self) -> Front:
        """Judge what is finished."""
        return front_of(self.target, self.candidates)

    def run(self) -> Front:
        """Search until enough candidates are tried or the time is over, then confirm the front.

        Raises:
            SpecError: the user's model, data or floor is wrong.
            DeviceError: the device is gone; the search can be resumed.
            AutoshrinkError: the first five candidates or ten in a row failed.
        """
        self._measure_original()
        limits_for(self.target, self.candidates[0])
        self.tracking.start(self.store.read_json("hardware.json"), self.candidates[0])
        self._explore()
        return self._confirm()

    def keep_time(self) -> None:
        """Write down where the time went, so that a resumed search adds to it."""
        self.store.write_json("seconds.json", self.clock.totals())

    # the original

    def _measure_original(self) -> None:
        self._show("measuring the original model")
        known = self._candidates.get(0)
        if known is not None and known.artifact is not None:
            self._reference = self._stored(known)
            return
        made = self._result(self.pool.compress(Recipe()), "the original model can't be exported")
        self._reference = made
        measured = self._on_device(lambda: self.pool.measure(made))
        self._finish(self._candidate(0, Recipe(), made, measured))

    # the search

    def _explore(self) -> None:
        with self.clock.engine():
            sampler = Sampler(
                self.store.study,
                self.store.name,
                self.target.search.space,
                self.accepts,
                self.target.metrics,
                kind=self.target.search.sampler,
                seed=self.target.search.seed,
            )
        settings = self.target.search
        while True:
            open_places = settings.candidates - (len(self._candidates) - 1) - len(self._running)
            in_time = settings.time is None or self.clock.elapsed < settings.time
            while in_time and open_places > 0 and len(self._running) < settings.workers:
                with self.clock.engine():
                    draw = self._new_draw(sampler)
                if draw is None:
                    open_places = 0
                    break
                flight = _Flight(self._next_id(), draw)
                self._running[self.pool.compress(draw.recipe)] = flight
                open_places -= 1
            self._show("searching")
            if not self._running:
                return
            for ended in self.pool.wait(list(self._running), timeout=1.0):
                self._land(sampler, ended)

    def _next_id(self) -> int:
        return max([*self._candidates, *(flight.id for flight in self._running.values())]) + 1

    def _new_draw(self, sampler: Sampler) -> Draw | None:
        limits = limits_for(self.target, self.candidates[0])
        known = {candidate.key: candidate for candidate in self._candidates.values()}
        in_work = {flight.draw.recipe.key for flight in self._running.values()}
        for _ in range(_REPEATS):
            draw = sampler.ask()
            if draw.recipe.key in known:
                sampler.tell(draw, blind(known[draw.recipe.key]), limits)
            elif draw.recipe.key in in_work:
                sampler.drop(draw)
            else:
                return draw
        return None

    def _land(self, sampler: Sampler, ended: Work) -> None:
        flight = self._running.pop(ended)
        answer = self.pool.take(ended)
        if answer.kind == "input":
            raise SpecError(answer.reason)
        if answer.kind == "device":
            flight.tries += 1
            if flight.tries == _TRIES:
                raise DeviceError(
                    f"{answer.reason} (asked {_TRIES} times); go on later with --resume {self.store.name}"
                )
            self._running[self._next_step(flight)] = flight
            return
        if answer.kind == "done" and flight.made is None:
            flight.made = answer.result
            self._running[self._next_step(flight)] = flight
            return
        with self.clock.engine():
            if answer.kind == "done" and flight.made is not None:
                candidate = self._candidate(flight.id, flight.draw.recipe, flight.made, answer.result)
            else:
                candidate = Candidate(
                    id=flight.id, recipe=flight.draw.recipe, outcome=_outcome(answer), reason=answer.reason
                )
            self._finish(candidate)
            sampler.tell(flight.draw, blind(candidate), limits_for(self.target, self.candidates[0]))
        self._stop_when_all_fail()

    def _next_step(self, flight: _Flight) -> Work:
        if flight.made is None:
            return self.pool.compress(flight.draw.recipe)
        return self.pool.measure(flight.made, self._reference, self._candidates[0].measurement)

    def _stop_when_all_fail(self) -> None:
        outcomes = [candidate.outcome for candidate in self.candidates[1:]]
        first, last = outcomes[:5], outcomes[-10:]
        for group, size, words in ((first, 5, "the first five candidates"), (last, 10, "ten candidates in a row")):
            if len(group) == size and set(group) == {"failed"}:
                reason = self.candidates[-1].reason.strip()
                raise AutoshrinkError(f"{words} failed, the search stops; the last one:\n{reason}")

    # the end

    def _confirm(self) -> Front:
        """Measure the front again with nothing else running, and score it on the test split.

        What breaks a limit then is off the front, and what was behind it is confirmed in its place.
        """
        self._confirm_one(self._candidates[0])
        while True:
            front = self.front()
            waiting = [member for member in front.members if member.accuracy.test is None]
            if not waiting:
                return front
            for number, member in enumerate(waiting):
                self._show(f"confirming the front ({number + 1} of {len(waiting)})")
                self._confirm_one(member)

    def _confirm_one(self, candidate: Candidate) -> None:
        if candidate.accuracy.test is not None:
            return
        made = self._stored(candidate)
        reference = None if candidate.id == 0 else self._reference
        original = None if candidate.id == 0 else self._candidates[0].measurement
        measured = self._on_device(lambda: self.pool.measure(made, reference, original, ("validation", "test")))
        confirmed = self._candidate(candidate.id, candidate.recipe, made, measured)
        self._finish(confirmed.model_copy(update={"facts": candidate.facts, "seconds": candidate.seconds}))

    # between

    def _finish(self, candidate: Candidate) -> None:
        self.store.add(candidate)
        self._candidates[candidate.id] = self._latest = candidate
        if candidate.id:
            self.tracking.log(candidate)

    def _candidate(self, number: int, recipe: Recipe, made: work.Compressed, measured: work.Measured) -> Candidate:
        self.store.keep_artifact(made.artifact.key, made.files)
        seconds = {**made.seconds, **measured.seconds}
        self.clock.add(seconds)
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

    def _stored(self, candidate: Candidate) -> work.Compressed:
        folder = self.store.artifact_folder(candidate)
        artifact: Artifact = candidate.artifact  # type: ignore[assignment]  # artifact_folder raised if it is None
        files = {name: (folder / name).read_bytes() for name in artifact.files}
        return work.Compressed(artifact, files, candidate.facts, {})

    def _result(self, ref: Work, what: str) -> Any:
        while not self.pool.wait([ref], timeout=1.0):
            self._show()
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

    def _on_device(self, ask: Callable[[], Work]) -> Any:
        for attempt in range(1, _TRIES + 1):
            try:
                return self._result(ask(), "the artifact can't be run on the device")
            except DeviceError as error:
                if attempt == _TRIES:
                    raise DeviceError(
                        f"{error} (asked {_TRIES} times); go on later with --resume {self.store.name}"
                    ) from None
        raise AssertionError("unreachable")

    def _show(self, stage: str | None = None) -> None:
        self._stage = stage or self._stage
        settings, tried = self.target.search, max(len(self._candidates) - 1, 0)
        front = self.front() if self._candidates else None
        self.watcher.update(
            Progress(
                stage=self._stage,
                finished=tried,
                wanted=settings.candidates,
                running=len(self._running),
                elapsed=self.clock.elapsed,
                left=self._left(tried),
                front=front,
                latest=self._latest,
            )
        )

    def _left(self, tried: int) -> float | None:
        settings = self.target.search
        by_time = None if settings.time is None else max(settings.time - self.clock.elapsed, 0.0)
        if tried < 2:
            return by_time
        by_count = (settings.candidates - tried) * self.clock.elapsed / tried
        return by_count if by_time is None else min(by_count, by_time)


def _outcome(answer: Answer) -> Any:
    return "refused" if answer.kind == "refused" else "failed"
