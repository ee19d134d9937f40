"""What earlier searches found, on the device of today: exported again where need be, measured, and not trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from autoshrink.core import Accuracy, Candidate, DeviceError, Recipe, SpecError
from autoshrink.core.recipe import Scalar
from autoshrink.search import work
from autoshrink.search.flight import Lesson
from autoshrink.search.lineage import Known
from autoshrink.search.report import blind
from autoshrink.search.session import TRIES, Session
from autoshrink.search.transfer import Format, Transfer
from autoshrink.search.variants import Recall, in_other_formats
from autoshrink.search.workers import Answer, Work
from autoshrink.techniques.base import Accepts, Stage
from autoshrink.techniques.registry import draw, recovery_of, settled, technique

__all__ = ["Revisit"]

_BOTH = ("validation", "test")


@dataclass
class _Visit:
    """One candidate of earlier on its way to its new figures."""

    known: Known
    recipe: Recipe
    params: Mapping[str, Scalar]
    format: Format
    number: int = 0
    made: work.Compressed | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    tries: int = 0


class Revisit:
    """Measures the candidates of earlier searches again, those first that are foretold to add most to the front.

    A recipe whose encoding the runtime does not execute is taken in another format. No gradient step is taken: a
    candidate of which nobody kept the weights is left out.
    """

    def __init__(self, session: Session, accepts: Accepts, known: Sequence[Known]) -> None:
        """Begin or resume.

        Args:
            session: the search.
            accepts: says which encodings backend and device execute.
            known: what earlier searches measured, the latest first; not empty.
        """
        self._session = session
        self._accepts = accepts
        self._transfer = Transfer(session.target, known[0].original)
        self._reference: work.Compressed | None = None
        self._until = 0.0
        self._waiting: list[_Visit] = [visit for item in known if (visit := self._visit(item)) is not None]
        self._made: list[_Visit] = []
        """Wait for the device."""
        self._running: dict[Work, _Visit] = {}
        self._quiet: set[Work] = set()
        """What is measured with nothing else in work, so far."""
        self._refused: Counter[Format] = Counter()
        self._begun = 0
        self.forgotten: list[_Visit] = []
        """Those whose weights nobody has any more."""
        self.tested: dict[int, Accuracy] = {}
        """What both splits say of those that were measured: kept from the search until it has ended."""
        self.alone: set[int] = set()
        """Those that were measured with nothing else in work."""

    @property
    def found(self) -> bool:
        """Whether anything but the original keeps the limits, on the test split too."""
        return any(member.id for member in self._transfer.tally.members)

    def ahead(self) -> bool:
        """Have exported what is likely to be wanted, on the workers that the original leaves free; False if none."""
        for _ in range(self._session.target.search.workers - 1):
            visit = self._best()
            if visit is None or visit.known.usable:
                break
            self._waiting.remove(visit)
            self._begin(visit)
        return bool(self._running)

    def run(self, reference: work.Compressed, tested: Accuracy | None, until: float) -> None:
        """Measure until none is foretold to add anything, or the time is over.

        Args:
            reference: the original's artifact, timed in turn with every candidate.
            tested: what both splits say of the original, where it was measured in this sitting.
            until: seconds of this sitting after which no other candidate is begun; the first ones always are.
        """
        session = self._session
        self._reference, self._until = reference, until
        original = session.original.model_copy(update={"accuracy": tested}) if tested else session.original
        self._transfer.arrive(original, session.store.candidates())
        while True:
            while len(self._running) < session.target.search.workers and self._start():
                pass
            session.running = len(self._running)
            session.show("measuring again what was found before")
            if not self._running:
                return
            for ended in session.pool.wait(list(self._running), timeout=1.0):
                self._land(ended)

    # What to do next ---------------------------------------------------------------------------------------------

    def _start(self) -> bool:
        measuring = sum(visit.made is not None for visit in self._running.values())
        if self._made and measuring < self._session.pool.devices:
            self._measure(self._made.pop(0))
            return True
        late = self._session.clock.elapsed > self._until and self._begun >= self._session.target.search.workers
        visit = None if late or len(self._made) >= self._session.target.search.workers else self._best()
        if visit is None:
            return False
        self._waiting.remove(visit)
        self._begin(visit)
        return True

    def _best(self) -> _Visit | None:
        """Choose what is foretold to add most to the front beside what is in work."""
        beside = [self._transfer.point(visit.known, visit.format) for visit in self._in_work()]
        likely = [item for item in self._waiting if self._transfer.knows(item.format) or self._refused[item.format] < 2]
        gains = [(self._transfer.gain(visit.known, visit.format, beside), visit) for visit in likely]
        gain, best = max(gains, key=lambda item: (item[0], -item[1].known.candidate.id), default=(0.0, None))
        return best if gain > 0 else None

    def _known(self, recipe: Recipe) -> bool:
        """Whether a recipe was measured again, or is in work: two of earlier may be one here."""
        return recipe.key in self._session.by_key or any(recipe.key == visit.recipe.key for visit in self._in_work())

    def _in_work(self) -> list[_Visit]:
        return [*self._running.values(), *self._made]

    def _begin(self, visit: _Visit) -> None:
        session = self._session
        if self._known(visit.recipe):
            return
        earlier = session.reuse.finished(visit.recipe.key, session.store)
        files = session.store.find_artifact(artifact) if (artifact := visit.known.candidate.artifact) else None
        visit.number = max([session.last, *(other.number for other in self._in_work())]) + 1
        if earlier is not None:  # this device was here before
            self._keep(visit, earlier.model_copy(update={"id": visit.number}))
        elif visit.known.usable and files is not None and artifact is not None:
            visit.made = work.Compressed(artifact, files, visit.known.candidate.facts, {})
            self._made.append(visit)
            self._begun += 1
        else:
            self._export(visit)

    def _export(self, visit: _Visit) -> None:
        # Training inside the encoding gave what is only in the files; without it the recipe is another one.
        visit.recipe = settled(visit.recipe)
        weights = self._session.reuse.recovered(Lesson.of(visit.recipe))
        if recovery_of(visit.recipe).steps and weights is None:
            self.forgotten.append(visit)
        elif not self._known(visit.recipe):
            self._quiet.clear()
            self._running[self._session.pool.compress(visit.recipe, known=weights)] = visit
            self._begun += 1

    def _measure(self, visit: _Visit) -> None:
        session, made = self._session, visit.made
        assert made is not None
        assert self._reference is not None
        self._quiet.clear()
        ref = session.pool.measure(made, self._reference, session.original.measurement, _BOTH)
        if not self._running or session.target.hardware.device == "emulated":
            self._quiet.add(ref)
        self._running[ref] = visit

    # What came back ----------------------------------------------------------------------------------------------

    def _land(self, ended: Work) -> None:
        visit, answer = self._running.pop(ended), self._session.pool.take(ended)
        if answer.kind == "input":
            raise SpecError(answer.reason)
        if answer.kind == "device":
            self._ask_again(visit, answer)
        elif answer.kind != "done":
            self._refused[visit.format] += not answer.cut
            self._session.finish(
                Candidate(id=visit.number, recipe=visit.recipe, outcome=answer.kind, reason=answer.reason)
            )
        else:
            self._session.clock.add(answer.result.seconds)
            visit.seconds |= answer.result.seconds
            if visit.made is None:
                visit.made = answer.result
                self._made.append(visit)
            else:
                self._take(visit, visit.made, answer.result, alone=ended in self._quiet)
        self._quiet.discard(ended)

    def _ask_again(self, visit: _Visit, answer: Answer) -> None:
        visit.tries += 1
        if visit.tries == TRIES:
            name = self._session.store.name
            raise DeviceError(f"{answer.reason} (asked {TRIES} times); go on later with --resume {name}")
        if visit.made is None:
            self._export(visit)
        else:
            self._made.insert(0, visit)

    def _take(self, visit: _Visit, made: work.Compressed, measured: work.Measured, *, alone: bool) -> None:
        candidate = self._session.record(visit.number, visit.recipe, made, measured, visit.seconds)
        self.tested[candidate.id] = candidate.accuracy
        if alone:
            self.alone.add(candidate.id)
        self._keep(visit, candidate)

    def _keep(self, visit: _Visit, candidate: Candidate) -> None:
        self._session.finish(blind(candidate))
        self._session.reuse.keep_result(visit.params, blind(candidate))
        self._transfer.learn(visit.known, visit.format, candidate)

    # What is looked at -------------------------------------------------------------------------------------------

    def _visit(self, known: Known) -> _Visit | None:
        recipe, params = known.candidate.recipe, known.params
        if not recipe.steps:
            return None
        if not known.usable and params is not None:
            found = self._executed(recipe, params)
            if found is None:
                return None
            recipe, params = found
        if recipe.key in self._session.by_key:
            return None  # measured before this sitting
        return _Visit(known, recipe, params or {}, _format(recipe))

    def _executed(self, recipe: Recipe, params: Mapping[str, Scalar]) -> tuple[Recipe, Mapping[str, Scalar]] | None:
        """Find the recipe in a format that the runtime executes: its own, or one with the same bits, or any other."""
        space = self._session.target.search.space
        same = Recall(params)
        if draw(space, same, self._accepts).key == recipe.key:
            return recipe, params
        others = list(in_other_formats(space, self._accepts, params))
        alike = (item for item in others if _bits(item[0]) == _bits(recipe))
        return next(alike, next(iter(others), None))


def _format(recipe: Recipe) -> Format:
    return tuple(
        (step.kind, step.params.get("weight_bits"), step.params.get("scheme"))
        for step in recipe.steps
        if technique(step.kind).stage is Stage.ENCODING
    )


def _bits(recipe: Recipe) -> Scalar:
    step = recipe.setting("quantization")
    return step.params.get("weight_bits") if step is not None else 32
