"""The main job: draw recipes, compress and measure them side by side, and confirm the front at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from autoshrink.core import AutoshrinkError, Candidate, DeviceError, Encoding, Front, SpecError
from autoshrink.core.candidate import Outcome
from autoshrink.search import work
from autoshrink.search.confirm import confirm_front, measure_original
from autoshrink.search.report import blind, limits_for
from autoshrink.search.sampler import Draw, Sampler
from autoshrink.search.session import TRIES, Session
from autoshrink.search.workers import Answer, Work

__all__ = ["search"]

_REPEATS = 300
"""Draws in a row that were all known: the space is exhausted then."""


def search(session: Session, accepts: Callable[[Encoding], str]) -> Front:
    """Search until enough candidates are tried or the time is over, then confirm the front.

    Raises:
        SpecError: the user's model, data or floor is wrong.
        DeviceError: the device is gone; the search can be resumed.
        AutoshrinkError: the first five candidates or ten in a row failed.
    """
    reference = measure_original(session)
    limits_for(session.target, session.known[0])  # a floor above the original's accuracy ends here
    session.tracking.start(session.store.read_json("hardware.json"), session.known[0])
    _Exploration(session, accepts, reference).run()
    return confirm_front(session, reference)


@dataclass
class _Flight:
    """A candidate in work: compressed first, then measured."""

    id: int
    draw: Draw
    made: work.Compressed | None = None
    tries: int = 0


class _Exploration:
    """Keeps every worker busy with a recipe that has not been tried."""

    def __init__(self, session: Session, accepts: Callable[[Encoding], str], reference: work.Compressed) -> None:
        self._session = session
        self._reference = reference
        self._original = session.known[0]
        self._limits = limits_for(session.target, self._original)
        self._flights: dict[Work, _Flight] = {}
        settings = session.target.search
        with session.clock.engine():
            self._sampler = Sampler(
                session.store.study,
                session.store.name,
                settings.space,
                accepts,
                session.target.metrics,
                kind=settings.sampler,
                seed=settings.seed,
            )

    def run(self) -> None:
        """Ask, hand out, and land what comes back, until the count or the time is reached."""
        session, settings = self._session, self._session.target.search
        exhausted = False
        while True:
            places = settings.candidates - session.tried - len(self._flights)
            in_time = settings.time is None or session.clock.elapsed < settings.time
            while in_time and not exhausted and places > 0 and len(self._flights) < settings.workers:
                exhausted = not self._start()
                places -= 1
            session.running = len(self._flights)
            session.show("searching")
            if not self._flights:
                return
            for ended in session.pool.wait(list(self._flights), timeout=1.0):
                self._land(ended)

    def _start(self) -> bool:
        with self._session.clock.engine():
            draw = self._new_draw()
            if draw is None:
                return False
            number = max([*self._session.known, *(flight.id for flight in self._flights.values())]) + 1
            self._flights[self._session.pool.compress(draw.recipe)] = _Flight(number, draw)
        return True

    def _new_draw(self) -> Draw | None:
        known = {candidate.key: candidate for candidate in self._session.known.values()}
        in_work = {flight.draw.recipe.key for flight in self._flights.values()}
        for _ in range(_REPEATS):
            draw = self._sampler.ask()
            if draw.recipe.key in known:
                self._sampler.tell(draw, blind(known[draw.recipe.key]), self._limits)
            elif draw.recipe.key in in_work:
                self._sampler.drop(draw)
            else:
                return draw
        return None

    def _land(self, ended: Work) -> None:
        flight = self._flights.pop(ended)
        answer = self._session.pool.take(ended)
        if answer.kind == "input":
            raise SpecError(answer.reason)
        if answer.kind == "device":
            flight.tries += 1
            if flight.tries == TRIES:
                name = self._session.store.name
                raise DeviceError(f"{answer.reason} (asked {TRIES} times); go on later with --resume {name}")
            self._flights[self._next_step(flight)] = flight
        elif answer.kind == "done" and flight.made is None:
            flight.made = answer.result
            self._flights[self._next_step(flight)] = flight
        else:
            self._finish(flight, answer)

    def _next_step(self, flight: _Flight) -> Work:
        if flight.made is None:
            return self._session.pool.compress(flight.draw.recipe)
        return self._session.pool.measure(flight.made, self._reference, self._original.measurement)

    def _finish(self, flight: _Flight, answer: Answer) -> None:
        with self._session.clock.engine():
            if answer.kind == "done" and flight.made is not None:
                candidate = self._session.record(flight.id, flight.draw.recipe, flight.made, answer.result)
            else:
                outcome: Outcome = "refused" if answer.kind == "refused" else "failed"
                candidate = Candidate(id=flight.id, recipe=flight.draw.recipe, outcome=outcome, reason=answer.reason)
            self._session.finish(candidate)
            self._sampler.tell(flight.draw, blind(candidate), self._limits)
        self._stop_when_all_fail()

    def _stop_when_all_fail(self) -> None:
        tried = self._session.candidates[1:]
        for group, size, words in ((tried[:5], 5, "the first five candidates"), (tried[-10:], 10, "ten in a row")):
            if len(group) == size and all(candidate.outcome == "failed" for candidate in group):
                reason = tried[-1].reason.strip()
                raise AutoshrinkError(f"{words} failed, and the search stops; the last one:\n{reason}")
