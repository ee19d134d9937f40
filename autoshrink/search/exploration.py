"""The exploration: what is asked, compressed, measured and trained next, and what becomes of what comes back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autoshrink.core import AutoshrinkError, Candidate, DeviceError, Sensitivity, SpecError
from autoshrink.models.recovery import RUNGS
from autoshrink.search import work
from autoshrink.search.flight import Flight, Sketch, Step
from autoshrink.search.funnel import Funnel
from autoshrink.search.presets import PRESETS
from autoshrink.search.proposals import Proposals
from autoshrink.search.report import limits_for
from autoshrink.search.session import TRIES, Session
from autoshrink.search.warm_start import Wishes, presets_from
from autoshrink.search.workers import Answer, Work
from autoshrink.techniques.base import Accepts, Stage
from autoshrink.techniques.registry import technique, untrained

__all__ = ["Exploration"]

_WAITING = 2
"""Candidates for each worker whose costs are known when the best of them is trained, if none is foretold to be good."""
_BEFORE_LAYERS = 6
"""Candidates that are tried before the layers are looked at, which takes a worker as long as some of them: what is good
for any model comes first, and a short search has a front by then."""


class Exploration:
    """Keeps devices and trainers busy: costs come first, and the most promising candidates are trained."""

    def __init__(
        self, session: Session, accepts: Accepts, reference: work.Compressed, presets: Sequence[Wishes] = PRESETS
    ) -> None:
        """Begin or resume.

        Args:
            session: the search.
            accepts: says which encodings backend and device execute.
            reference: the original's artifact, timed in turn with every candidate.
            presets: recipes to try first; without any, those that fit the model are not asked for either.
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
        with session.clock.engine():
            self._proposals = Proposals(session, accepts, self._limits, presets)
        self._awaited: list[Work] = []
        """What the layers bear."""
        table = session.reuse.sensitivity()
        self._asks_layers = table is None and bool(presets)
        if table is not None and presets:
            self._take_sensitivity(table)

    def run(self) -> None:
        """Ask, hand out, and land what comes back, until the count or the time is reached."""
        session = self._session
        while True:
            while len(self._running) + len(self._awaited) < session.target.search.workers and self._start():
                pass
            session.running = len(self._running)
            session.show("searching")
            if not self._running and not self._awaited:
                return
            for ended in session.pool.wait([*self._running, *self._awaited], timeout=1.0):
                if ended in self._awaited:
                    self._awaited.remove(ended)
                    table = session.sensitivity(ended)
                    if table is not None:
                        self._take_sensitivity(table)
                else:
                    self._land(ended)

    def _take_sensitivity(self, table: Sensitivity) -> None:
        with self._session.clock.engine():
            self._proposals.add(presets_from(table, self._session.target.search.space))

    # What to do next ---------------------------------------------------------------------------------------------

    def _start(self) -> bool:
        """Hand out one piece of work; False when there is none, or no time."""
        with self._session.clock.engine():
            if not self._session.in_time:
                return False
            if self._asks_layers and self._session.tried >= _BEFORE_LAYERS:
                self._asks_layers = False
                self._awaited.append(self._session.pool.sensitivity())
                return True
            measuring = sum(step == "cost" for _, step in self._running.values())
            if self._shaped and measuring < self._session.pool.devices:
                self._hand_out(self._shaped.pop(0), "cost")
                return True
            early = len(self._ready) + len(self._shaped) + measuring
            best = self._best()
            promising = best is not None and self._gain(best) > 0
            if not promising and early < _WAITING * self._session.target.search.workers and self._draw():
                return True
            if best is not None:
                self._ready.remove(best)
                self._hand_out(best, "train")
                return True
            return self._draw()

    def _draw(self) -> bool:
        wanted = self._session.target.search.candidates - self._session.tried - len(self._flights)
        draw = self._proposals.next(self._in_work()) if wanted > 0 and not self._exhausted else None
        if draw is None:
            self._exhausted |= wanted > 0
            return False
        flight = Flight(max([self._session.last, *self._flights]) + 1, draw)
        self._flights[flight.id] = flight
        earlier = self._session.reuse.finished(flight.recipe.key, self._session.store)
        if earlier is not None:
            self._finish_measured(flight, earlier.model_copy(update={"id": flight.id}))
            return True
        sketch = self._session.reuse.sketch(flight.skeleton) if flight.recovers else None
        if sketch is not None:
            self._cost_known(flight, sketch)
        elif flight.recovers and self._session.reuse.recovered(flight.lesson) is not None:
            self._hand_out(flight, "train")  # which needs no training any more
        else:
            self._hand_out(flight, "shape")
        return True

    def _in_work(self) -> set[str]:
        return {flight.recipe.key for flight in self._flights.values()}

    def _best(self) -> Flight | None:
        """Choose the training that is foretold to add most to the front; what is hopeless by now is given up."""
        for flight in list(self._ready):
            if reason := self._funnel.hopeless(flight, self._session.standings):
                self._ready.remove(flight)
                weaker = False if self._funnel.below(flight) else None
                self._finish(flight, flight.candidate("stopped", reason), stronger=weaker)
        training = self._session.reuse.training
        now = {training(flight.lesson) for flight, step in self._running.values() if step == "train"}
        free = [flight for flight in self._ready if training(flight.lesson) not in now]
        return max(free, key=lambda flight: (self._gain(flight), -flight.id), default=None)

    def _gain(self, flight: Flight) -> float:
        return self._funnel.gain(flight, self._session.standings)

    def _hand_out(self, flight: Flight, step: Step) -> None:
        pool, recipe = self._session.pool, flight.recipe
        if step == "shape":
            ref = pool.compress(recipe, 0)
        elif step == "train":
            weights = self._session.reuse.recovered(flight.lesson)
            flight.rung = self._funnel.rung(flight) if weights is None else len(RUNGS)
            flight.taught = weights is None
            ref = pool.compress(recipe, flight.rung, weights)
        else:
            ref = self._measure(flight, step)
        self._running[ref] = flight, step

    def _measure(self, flight: Flight, step: Step) -> Work:
        pool = self._session.pool
        if (step == "score" and not flight.complete) or self._session.reuse.alike(
            flight.artifact.structure
        ) is not None:
            return pool.measure(flight.built, wants=())
        return pool.measure(flight.built, self._reference, self._original.measurement, effort="quick")

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
        self._session.reuse.keep_start(flight.lesson.structure, made.start)
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
            self._finish_measured(flight, self._record(flight, figures))

    def _keep_untrained(self, flight: Flight, figures: work.Measured) -> None:
        """Keep what was built for its costs, where it is good enough as it is and the space has it without recovery."""
        recipe, session = untrained(flight.recipe), self._session
        known = recipe.key in session.by_key or recipe.key in self._in_work()
        full = session.tried + len(self._flights) >= session.target.search.candidates
        if self._recovery_optional and self._funnel.good(figures) and not known and not full:
            number = max([session.last, *self._flights]) + 1
            session.finish(session.record(number, recipe, flight.built, figures, flight.seconds))

    def _cost_known(self, flight: Flight, sketch: Sketch) -> None:
        flight.know(sketch)
        flight.made = None
        if reason := self._funnel.over_budget(sketch.measurement.metrics):
            self._finish(flight, flight.candidate("stopped", f"before any training: {reason}"), stronger=True)
        else:
            self._ready.append(flight)
            if self._funnel.good_untrained(flight, self._session.standings):
                self._proposals.strengthen(flight.draw, stronger=True)  # it will be better still when it is trained

    def _keep_training(self, flight: Flight, made: work.Compressed) -> None:
        flight.made = made
        if made.recovered is not None and flight.taught:
            self._funnel.trained(flight, made.seconds["train"])
            if flight.complete:
                self._session.reuse.keep_recovered(flight.lesson, made.recovered)
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
        self._finish_measured(flight, self._record(flight, figures))

    def _record(self, flight: Flight, figures: work.Measured) -> Candidate:
        return self._session.record(flight.id, flight.recipe, flight.built, figures, flight.seconds)

    def _finish_measured(self, flight: Flight, candidate: Candidate) -> None:
        broken = self._limits.excess(candidate)
        self._finish(flight, candidate, stronger=None if broken and "accuracy" not in broken else not broken)

    def _finish(self, flight: Flight, candidate: Candidate, *, stronger: bool | None = None) -> None:
        del self._flights[flight.id]
        self._session.finish(candidate)
        self._session.reuse.keep_result(flight.draw.params, candidate)
        on_front = self._session.standings.state(candidate.id) == "front"
        if flight.recovers and candidate.outcome == "measured" and (on_front or self._funnel.near(candidate)):
            self._proposals.vary_format(flight.draw)
        if stronger is not None and (on_front or candidate.outcome == "stopped" or not stronger):
            self._proposals.strengthen(flight.draw, stronger=stronger)
        self._proposals.finish(flight.draw, candidate)
        if words := self._session.all_fail():
            reason = candidate.reason.strip()
            raise AutoshrinkError(f"{words} failed, and the search stops; the last one:\n{reason}")
