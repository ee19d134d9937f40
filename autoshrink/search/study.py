"""Optuna: a journal of every trial, and in memory a study of those worth learning from; its only importer.

The cost of Optuna's multi-objective samplers grows with what they know: TPE takes 15 ms a trial at 100 trials, 155 ms
at 1,000 and 1.8 s at 10,000, and a trial takes 5 to 8 kB. So the study in memory knows only the trials that tell most,
and begins anew with them whenever it has grown; the journal is complete, and nothing is read from it while a search
runs.
"""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import moocore
import optuna
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend, JournalFileOpenLock
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from autoshrink.core import Range
from autoshrink.core.recipe import Scalar
from autoshrink.core.space import Values

__all__ = ["Direction", "Journal", "Kind", "Question", "Study", "informative"]

Kind = Literal["tpe", "nsga2", "gp", "random"]
Direction = Literal["maximize", "minimize"]

optuna.logging.set_verbosity(optuna.logging.ERROR)

_KNOWN = {"tpe": 200, "nsga2": 128, "gp": 64, "random": 0}
"""Trials that a study begins with: 20 of TPE's are then the good ones, near the 25 that Optuna allows one objective."""
_GROWTH = {"tpe": 64, "nsga2": 64, "gp": 32, "random": 256}
"""Trials that it grows by before it begins anew."""


class Journal:
    """The file that `optuna-dashboard` reads and that a search resumes from: a line for each finished trial.

    The lines are Optuna's own, written through its journal storage, of which none is kept: its replay would hold every
    trial in memory.
    """

    def __init__(self, path: Path, name: str, directions: Sequence[Direction]) -> None:
        self._name = name
        _drop_torn_line(path)
        self._file = JournalFileBackend(str(path), _HeldAlready(str(path)))
        self._trials = optuna.create_study(
            storage=JournalStorage(self._file), study_name=name, directions=list(directions), load_if_exists=True
        ).get_trials(deepcopy=False)
        self._head = next(iter(self._file.read_logs(0)))

    def take(self) -> list[FrozenTrial]:
        """Hand over the trials of earlier sittings, once."""
        trials, self._trials = self._trials, []
        return trials

    def add(self, trial: FrozenTrial) -> None:
        """Append a finished trial and wait until it is on the disk."""
        storage = JournalStorage(_OneTrial(self._file, self._head))
        optuna.load_study(study_name=self._name, storage=storage, sampler=_RANDOM).add_trial(trial)


@dataclass
class Question:
    """A trial that waits for its answer; while it is asked, a `Chooser`: parameters keep name and bounds."""

    trial: Trial
    study: optuna.Study
    params: dict[str, Scalar] = field(default_factory=dict)
    """What was picked."""
    shadow: int | None = None
    """Its number as a running trial in the study that was begun after it was asked."""

    def choice(self, name: str, values: Values) -> Scalar:
        """Pick one of the values."""
        self.params[name] = self.trial.suggest_categorical(name, values)
        return self.params[name]

    def range(self, name: str, interval: Range) -> int | float:
        """Pick a number of the interval."""
        low, high, step, log = interval.low, interval.high, interval.step, interval.log
        drawn: int | float
        if interval.whole:
            drawn = self.trial.suggest_int(name, int(low), int(high), step=int(step or 1), log=log)
        else:
            drawn = self.trial.suggest_float(name, float(low), float(high), step=step, log=log)
        self.params[name] = drawn
        return drawn


class Study:
    """Asks with one of Optuna's samplers, and forgets what tells it least."""

    def __init__(
        self,
        directions: Sequence[Direction],
        kind: Kind,
        seed: int,
        trials: Sequence[FrozenTrial],
        known: int | None = None,
    ) -> None:
        """Begin with what is known from earlier.

        Args:
            directions: ``maximize`` or ``minimize``, by objective.
            kind: the sampler.
            seed: of its random numbers; those that were used for earlier trials are not repeated.
            trials: finished trials.
            known: trials to begin with whenever the study has grown; by default what suits the sampler.
        """
        self._directions = list(directions)
        self._kind = kind
        self._seed = seed
        self._told = len(trials)
        self._known = _KNOWN[kind] if known is None else known
        self._questions: list[Question] = []
        self._begin(trials)

    def ask(self, params: Mapping[str, Scalar] | None = None) -> Question:
        """Ask about the sampler's choice, or about given parameters."""
        if self._size >= self._limit:
            self._begin(self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
        if params is not None:
            self._study.enqueue_trial(dict(params))
        question = Question(self._study.ask(), self._study)
        self._size += 1
        self._questions.append(question)
        return question

    def tell(
        self,
        question: Question,
        values: Sequence[float] | None,
        constraints: Mapping[str, float],
        notes: Mapping[str, Any],
    ) -> FrozenTrial:
        """Learn the answer to a question; no values means that it failed.

        Returns:
            The finished trial as it belongs in the journal.
        """
        self._questions = [other for other in self._questions if other is not question]
        state = TrialState.FAIL if values is None else TrialState.COMPLETE
        for name, value in constraints.items():
            question.trial.set_constraint(name, value)
        asked = question.study.tell(question.trial, values, state)
        trial = create_trial(
            state=state,
            values=values,
            params=asked.params,
            distributions=asked.distributions,
            constraints=dict(constraints),
            user_attrs=dict(notes),
        )
        trial.datetime_start = asked.datetime_start
        if question.shadow is not None:
            self._study.tell(question.shadow, state=TrialState.FAIL)
            self._study.add_trial(trial)
            self._size += 1
        self._told += 1
        return trial

    def drop(self, question: Question) -> None:
        """Forget a question without an answer."""
        self._questions = [other for other in self._questions if other is not question]
        question.study.tell(question.trial, state=TrialState.FAIL)
        if question.shadow is not None:
            self._study.tell(question.shadow, state=TrialState.FAIL)

    def _begin(self, trials: Sequence[FrozenTrial]) -> None:
        seed = self._seed + self._told
        self._study = optuna.create_study(directions=self._directions, sampler=_sampler(self._kind, seed))
        kept = informative(trials, self._known, self._study.directions, seed)
        self._study.add_trials(kept)
        for question in self._questions:
            asked = question.study.get_trials(deepcopy=False)[question.trial.number]
            self._study.add_trial(
                create_trial(state=TrialState.RUNNING, params=asked.params, distributions=asked.distributions)
            )
            question.shadow = len(self._study.get_trials(deepcopy=False)) - 1
        self._size = len(kept) + len(self._questions)
        self._limit = max(self._size, self._known) + _GROWTH[self._kind]


def informative(
    trials: Sequence[FrozenTrial], most: int, directions: Sequence[StudyDirection], seed: int
) -> list[FrozenTrial]:
    """Pick the trials that tell a sampler most: half the best, a quarter the latest, a quarter any of the others.

    The best come first by the sum of the limits that they break, then by their rank of dominance. Those that are
    neither good nor new say where not to look.

    Args:
        trials: in the order in which they ended; only complete ones are picked.
        most: how many to pick.
        directions: the study's.
        seed: which of the others are picked.
    """
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    if len(complete) <= most:
        return complete
    latest = complete[len(complete) - most // 4 :]
    older = complete[: len(complete) - len(latest)]
    order = _best_first(older, directions)
    best = order[: most // 2]
    others = random.Random(seed).sample(order[most // 2 :], most - len(best) - len(latest))
    return [older[index] for index in sorted((*best, *others))] + latest


def _best_first(trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection]) -> list[int]:
    signs = [-1 if direction is StudyDirection.MAXIMIZE else 1 for direction in directions]
    points = [[sign * value for sign, value in zip(signs, trial.values, strict=True)] for trial in trials]
    ranks = moocore.pareto_rank(points) if points else []
    broken = [sum(max(value, 0.0) for value in trial.constraints.values()) for trial in trials]
    return sorted(range(len(trials)), key=lambda index: (broken[index], ranks[index], -index))


class _SteadyNSGAII(NSGAIISampler):
    """NSGA-II with one child a generation: parents are the elite of all that is known.

    The generations of Optuna's own are counted through the whole study, of which only a part is kept here; and many
    workers need not wait for a generation to end.

    References:
        Durillo et al. 2009, "On the Effect of the Steady-State Selection Scheme in Multi-Objective Genetic Algorithms".
    """

    def get_trial_generation(self, study: optuna.Study, trial: FrozenTrial) -> int:
        return int(len(self.get_population(study, 0)) >= (self.population_size or 0))

    def get_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        return self.select_parent(study, generation) if generation else []


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


_RANDOM = RandomSampler()
"""For studies that nothing is asked of."""


def _sampler(kind: Kind, seed: int) -> BaseSampler:
    if kind == "tpe":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # `group` is
            return TPESampler(seed=seed, multivariate=True, group=True, n_startup_trials=12)
    if kind == "nsga2":
        return _SteadyNSGAII(seed=seed, population_size=16)
    if kind == "gp":
        return GPSampler(seed=seed, warn_independent_sampling=False)
    return RandomSampler(seed=seed)


def _drop_torn_line(path: Path) -> None:
    """Cut a record that its writer was killed in the middle of: Optuna would write the next one behind it."""
    if not path.exists():
        return
    content = path.read_bytes()
    if (end := content.rfind(b"\n") + 1) < len(content):
        os.truncate(path, end)
