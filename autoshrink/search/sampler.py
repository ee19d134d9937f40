"""Optuna's ask and tell, with the budget and the floor as constraints: the only importer of optuna."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import optuna
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import Trial, TrialState

from autoshrink.core import Candidate, Limits, Range, Recipe, Space
from autoshrink.core.front import cost
from autoshrink.core.recipe import Scalar
from autoshrink.core.space import Values
from autoshrink.search.presets import PRESETS, Preset
from autoshrink.techniques.base import Accepts
from autoshrink.techniques.registry import draw

__all__ = ["Draw", "Sampler"]

optuna.logging.set_verbosity(optuna.logging.ERROR)

_RECIPE = "recipe"


@dataclass(frozen=True)
class Draw:
    """One recipe that the sampler asks about; ``number`` is its trial's."""

    number: int
    recipe: Recipe


class Sampler:
    """Proposes recipes and learns from what became of them; the study is a journal file that outlives the process."""

    def __init__(
        self,
        journal: Path,
        name: str,
        space: Space,
        accepts: Accepts,
        objectives: Sequence[str],
        *,
        kind: Literal["tpe", "nsga2", "gp", "random"],
        seed: int,
    ) -> None:
        self._space = space
        self._accepts = accepts
        self._objectives = tuple(objectives)
        self._open: dict[int, Trial] = {}
        fresh = not journal.exists()
        self._study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(journal), _HeldAlready(str(journal)))),
            study_name=name,
            directions=["maximize" if name == "accuracy" else "minimize" for name in self._objectives],
            load_if_exists=True,
        )
        # After a resume the sampler must not repeat the random numbers that it began with.
        self._study.sampler = _sampler(kind, seed + (0 if fresh else len(self._study.get_trials(deepcopy=False))))
        if fresh:
            self._enqueue_presets()
        else:
            self._repeat_unfinished()

    def ask(self) -> Draw:
        """Propose a recipe."""
        trial = self._study.ask()
        recipe = draw(self._space, _TrialChooser(trial), self._accepts)
        trial.set_user_attr(_RECIPE, recipe.describe())
        self._open[trial.number] = trial
        return Draw(trial.number, recipe)

    def tell(self, draw: Draw, candidate: Candidate, limits: Limits) -> None:
        """Say what became of a recipe: its objectives, and by how much it breaks each limit.

        A candidate without objectives, refused or failed, is told as failed.
        """
        trial = self._open.pop(draw.number)
        values = [cost(candidate, name) * (-1 if name == "accuracy" else 1) for name in self._objectives]
        trial.set_user_attr("candidate", candidate.id)
        if candidate.outcome != "measured" or not all(map(math.isfinite, values)):
            trial.set_user_attr("reason", candidate.reason[-500:])
            self._study.tell(trial, state=TrialState.FAIL)
            return
        excess = limits.excess(candidate)
        for name in ("accuracy", *limits.costs):
            trial.set_constraint(name, _finite(excess.get(name, 0.0)))
        self._study.tell(trial, values)

    def drop(self, draw: Draw) -> None:
        """Give a draw up, such as one that was in work when the search was interrupted."""
        self._study.tell(self._open.pop(draw.number), state=TrialState.FAIL)

    def _enqueue_presets(self) -> None:
        seen = set()
        for wishes in PRESETS:
            preset = Preset(wishes)
            key = draw(self._space, preset, self._accepts).key
            if key not in seen:
                seen.add(key)
                self._study.enqueue_trial(dict(preset.chosen))

    def _repeat_unfinished(self) -> None:
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            params = dict(trial.params)
            self._study.tell(trial.number, state=TrialState.FAIL)
            if params:
                self._study.enqueue_trial(params)


class _HeldAlready(JournalFileOpenLock):
    """No lock: the store lets one driver onto a search, and Optuna's own outlives a driver that is killed."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        return None


class _TrialChooser:
    """Lets a trial choose; each parameter keeps its name and its bounds through the whole study."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial

    def choice(self, name: str, values: Values) -> Scalar:
        return self._trial.suggest_categorical(name, values)

    def range(self, name: str, interval: Range) -> int | float:
        if interval.whole:
            step = int(interval.step or 1)
            return self._trial.suggest_int(name, int(interval.low), int(interval.high), step=step, log=interval.log)
        return self._trial.suggest_float(
            name, float(interval.low), float(interval.high), step=interval.step, log=interval.log
        )


def _sampler(kind: str, seed: int) -> BaseSampler:
    if kind == "tpe":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # `group` is
            return TPESampler(seed=seed, multivariate=True, group=True, n_startup_trials=12)
    if kind == "nsga2":
        return NSGAIISampler(seed=seed, population_size=16)
    if kind == "gp":
        return GPSampler(seed=seed, warn_independent_sampling=False)
    return RandomSampler(seed=seed)


def _finite(value: float) -> float:
    return min(value, 1e9)
