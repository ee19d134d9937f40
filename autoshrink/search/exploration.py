"""The exploration: what is asked, compressed, measured and trained next, and what becomes of what comes back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from autoshrink.core import AutoshrinkError, Candidate, DeviceError, Encoding, SpecError
from autoshrink.search import work
from autoshrink.search.flight import Flight, Sketch, Step
from autoshrink.search.funnel import Funnel
from autoshrink.search.report import blind, limits_for
from autoshrink.search.sampler import Draw, Sampler
from autoshrink.search.session import TRIES, Session
from autoshrink.search.warm_start import Wishes
from autoshrink.search.workers import Answer, Work
from autoshrink.techniques.base import Stage
from autoshrink.techniques.registry import technique, untrained

__all__ = ["Exploration"]

_REPEATS = 300
"""Draws in a row that were all known: the space is exhausted then."""
_WAITING = 2
"""Candidates for each worker whose costs are known when the best of them is trained."""


class Exploration:
    """Keeps devices and trainers busy: costs come first, and the most promising candidates are trained."""

    def __init__(
        self,
        session: Session,
        accepts: Callable[[Encoding], str],
        reference: work.Compressed,
        presets: Sequence[Wishes],
    ) -> None:
        """Begin or resume.

        Args:
            session: the search.
            accepts: says which encodings backend and device execute.
            reference: the original's artifact, timed in turn with every candidate.
            presets: recipes to try first, after the best ones of earlier searches.
        """
        self._session = session
        self._reference = reference
        self._original = session.original
        self._limits = limits_for(session.target, self._original)
        self._funnel = Funnel(self._limits, session.target.metrics, self._original)
        self._flights: dict[int, Flight] = {}
        self._running: dict[Work, tuple[Flight, Step]] = {}
        self._shaped: list[Flight] = []
        """Wait for the device."""
        self._ready: list[Flight] = []
        """Wait for a training."""
        self._exhausted = False
        steps = session.target.search.space.steps
        self._recovery_optional = all(step.optional for step in steps if technique(step.kind).stage is Stage.RECOVERY)
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
                presets=presets,
            )
            for result in session.reuse.best_results(session.target, self._limits):
                self._sampler.recall(result.params, result.candidate.key)

    def run(self) -> None:
        """Ask, hand out, and land what comes back, until the count or the time is reached."""
        session = self._session
        while True:
            while len(self._running) < session.target.search.workers and self._in_time and self._start():
                pass
            session.running = len(self._running)
            session.show("searching")
            if not self._running:
                return
            for ended in session.pool.wait(list(self._running), timeout=1.0):
                self._land(ended)

    @property
    def _in_time(self) -> bool:
        time = self._session.target.search.time
        return time is None or self._session.clock.elapsed < time

    # What to do next ---------------------------------------------------------------------------------------------

    def _start(self) -> bool:
        """Hand out one piece of work; False when there is none."""
        with self._session.clock.engine():
            measuring = sum(step == "cost" for _, step in self._running.values())
            if self._shaped and measuring < self._session.pool.devices:
                self._hand_out(self._shaped.pop(0), "cost")
                return True
            early = len(self._ready) + len(self._shaped) + measuring
            if early < _WAITING * self._session.target.search.workers and self._draw():
                return True
            return self._train_best() or self._draw()

    def _draw(self) -> bool:
        wanted = self._session.target.search.candidates - self._session.tried - len(self._flights)
        draw = self._new_draw() if wanted > 0 and not self._exhausted else None
        if draw is None:
            self._exhausted |= wanted > 0
            return False
        flight = Flight(max([self._session.last, *self._flights]) + 1, draw)
        self._flights[flight.id] = flight
        known = self._session.reuse.sketch(flight.skeleton) if flight.recovers else None
        if known is not None:
            self._cost_known(flight, known)
        else:
            self._hand_out(flight, "shape")
        return True

    def _new_draw(self) -> Draw | None:
        session = self._session
        in_work = self._in_work()
        for _ in range(_REPEATS):
            draw = self._sampler.ask()
            known = session.candidate(draw.recipe.key)
            if known is not None:
                self._sampler.tell(draw, blind(known), self._limits)
            elif draw.recipe.key in in_work:
                self._sampler.drop(draw)
            else:
                return draw
        return None

    def _in_work(self) -> set[str]:
        return {flight.recipe.key for flight in self._flights.values()}

    def _train_best(self) -> bool:
        """Start the training that is foretold to add most to the front; what is hopeless by now is given up."""
        tally = self._session.tally
        if tally is None or not self._ready:
            return False
        for flight in list(self._ready):
            if reason := self._funnel.hopeless(flight, tally):
                self._ready.remove(flight)
                self._finish(flight, flight.candidate("stopped", reason))
        in_training = {flight.prefix for flight, step in self._running.values() if step == "train"}
        free = [flight for flight in self._ready if flight.prefix not in in_training]
        if not free:
            return False
        best = max(free, key=lambda flight: (self._funnel.gain(flight, tally), -flight.id))
        self._ready.remove(best)
        self._hand_out(best, "train")
        return True

    def _hand_out(self, flight: Flight, step: Step) -> None:
        pool, recipe = self._session.pool, flight.recipe
        if step == "shape":
            ref = pool.compress(recipe, 0)
        elif step == "train":
            start = self._session.reuse.recovered(flight.prefix)
            flight.since = start[0] if start else 0
            flight.rungs = max(flight.since, self._funnel.rungs(flight))
            ref = pool.compress(recipe, flight.rungs, start)
        else:
            ref = self._measure(flight, step)
        self._running[ref] = flight, step

    def _measure(self, flight: Flight, step: Step) -> Work:
        pool = self._session.pool
        if (step == "score" and not flight.complete) or self._session.reuse.alike(
            flight.artifact.structure
        ) is not None:
            return pool.measure(flight.built, wants=())
        return pool.measure(flight.built, self._reference, self._original.measurement)

    # What came back ----------------------------------------------------------------------------------------------

    def _land(self, ended: Work) -> None:
        flight, step = self._running.pop(ended)
        answer = self._session.pool.take(ended)
        with self._session.clock.engine():
            if answer.kind == "input":
                raise SpecError(answer.reason)
            if answer.kind == "device":
                self._ask_again(flight, step, answer)
            elif answer.kind != "done":
                self._finish(flight, flight.candidate(answer.kind, answer.reason))
            else:
                flight.spend(answer.result.seconds)
                self._session.clock.add(answer.result.seconds)
                self._advance(flight, step, answer.result)

    def _ask_again(self, flight: Flight, step: Step, answer: Answer) -> None:
        flight.tries += 1
        if flight.tries == TRIES:
            name = self._session.store.name
            raise DeviceError(f"{answer.reason} (asked {TRIES} times); go on later with --resume {name}")
        self._hand_out(flight, step)

    def _advance(self, flight: Flight, step: Step, result: Any) -> None:
        if step == "shape":
            self._keep_shape(flight, result)
        elif step == "cost":
            self._keep_cost(flight, result)
        elif step == "train":
            self._keep_training(flight, result)
        else:
            self._keep_score(flight, result)

    def _keep_shape(self, flight: Flight, made: work.Compressed) -> None:
        flight.made = made
        if self._session.reuse.alike(made.artifact.structure) is not None:
            self._hand_out(flight, "cost")  # its like was measured: only its answers are missing, not the device
        else:
            self._shaped.append(flight)

    def _keep_cost(self, flight: Flight, measured: work.Measured) -> None:
        made = flight.built
        figures = flight.figures(measured, self._session.reuse.alike(made.artifact.structure))
        metrics, conditions = figures.measurement.metrics, figures.measurement.conditions
        noisy = not conditions.get("quiet", True) and not flight.tries
        if noisy and self._funnel.over_budget(metrics) and self._funnel.doubtful(metrics):
            flight.tries += 1
            self._shaped.insert(0, flight)  # only the width of a band that a busy machine made breaks the limit
            return
        sketch = Sketch(
            artifact=made.artifact,
            measurement=figures.measurement,
            accuracy=measured.accuracy.validation,
            facts=made.facts,
        )
        self._session.reuse.keep_sketch(flight.skeleton, sketch)
        if flight.recovers:
            self._keep_untrained(flight, figures)
            self._cost_known(flight, sketch)
        else:
            flight.know(sketch)
            self._finish(flight, self._session.record(flight.id, flight.recipe, made, figures, flight.seconds))

    def _keep_untrained(self, flight: Flight, figures: work.Measured) -> None:
        """Keep what was built for its costs, where it is good enough as it is and the space has it without recovery."""
        recipe, session = untrained(flight.recipe), self._session
        known = recipe.key in session.by_key or recipe.key in self._in_work()
        full = session.tried + len(self._flights) >= session.target.search.candidates
        accuracy = figures.accuracy.validation
        if known or full or not self._recovery_optional or accuracy is None or accuracy < self._limits.floor:
            return
        if not self._funnel.over_budget(figures.measurement.metrics):
            number = max([session.last, *self._flights]) + 1
            session.finish(session.record(number, recipe, flight.built, figures, flight.seconds))

    def _cost_known(self, flight: Flight, sketch: Sketch) -> None:
        flight.know(sketch)
        flight.made = None
        if reason := self._funnel.over_budget(sketch.measurement.metrics):
            self._finish(flight, flight.candidate("stopped", f"before any training: {reason}"))
        else:
            self._ready.append(flight)

    def _keep_training(self, flight: Flight, made: work.Compressed) -> None:
        flight.made = made
        if made.recovered is not None and flight.rungs > flight.since:
            self._session.reuse.keep_recovered(flight.prefix, flight.rungs, made.recovered)
            self._funnel.trained(flight, made.seconds["train"])
        self._hand_out(flight, "score")

    def _keep_score(self, flight: Flight, measured: work.Measured) -> None:
        made = flight.built
        flight.score(measured.accuracy.validation)
        self._funnel.looked(made.seconds["export"] + measured.seconds["measure"])
        if not flight.complete:
            flight.made = None
            self._ready.append(flight)
            return
        self._funnel.learn(flight)
        figures = flight.figures(measured, self._session.reuse.alike(made.artifact.structure))
        if self._funnel.near(flight):
            self._sampler.siblings(flight.draw)
        self._finish(flight, self._session.record(flight.id, flight.recipe, made, figures, flight.seconds))

    def _finish(self, flight: Flight, candidate: Candidate) -> None:
        del self._flights[flight.id]
        self._session.finish(candidate)
        self._session.reuse.keep_result(flight.draw.params, candidate)
        self._sampler.tell(flight.draw, blind(candidate), self._limits)
        if words := self._session.all_fail():
            reason = candidate.reason.strip()
            raise AutoshrinkError(f"{words} failed, and the search stops; the last one:\n{reason}")
