"""The study: what it keeps in mind, what it forgets, and that it learns all the same."""

from __future__ import annotations

import math
import random
import tracemalloc
from typing import Any

import moocore
import optuna
import pytest
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from autoshrink.core import Range
from autoshrink.search.study import Question, Study, informative

SHARE = Range(low=0.0, high=1.0)
MINIMIZE = [StudyDirection.MINIMIZE] * 2


def choose(question: Question) -> tuple[list[float], dict[str, float]]:
    """Three objectives that pull apart, over parameters of which some depend on others, and one limit."""
    cut = question.range("cut", SHARE) if question.choice("prune", (False, True)) else 0.0
    heal = question.range("heal", SHARE) if question.choice("recover", (False, True)) else 0.0
    bits = {"a": 32, "b": 8, "c": 4}[str(question.choice("bits", ("a", "b", "c")))]
    error = 0.01 + 0.2 * cut**2 * (1 - 0.8 * math.exp(-20 * (heal - 0.7) ** 2)) + {32: 0, 8: 0.005, 4: 0.05}[bits]
    time, size = (1 - cut) * (0.5 if bits == 8 else 1.0), (1 - cut) ** 2 * bits / 32
    return [error, time, size], {"error": max(0.0, error - 0.06)}


def tell(study: Study, question: Question) -> FrozenTrial:
    values, constraints = choose(question)
    return study.tell(question, values, constraints, {})


def volume(trials: list[FrozenTrial]) -> float:
    feasible = [trial.values for trial in trials if trial.constraints["error"] == 0]
    return float(moocore.hypervolume(feasible, ref=[0.06, 1, 1])) if feasible else 0.0


@pytest.mark.parametrize("kind", ["tpe", "nsga2"])
def test_forgetting_does_not_keep_it_from_learning(kind: Any) -> None:
    def reached(kind: Any, known: int, seed: int) -> float:
        study = Study(["minimize"] * 3, kind, seed, [], known=known)
        return volume([tell(study, study.ask()) for _ in range(120)])

    forgetful, complete, blind = (reached(*case, seed=1) for case in ((kind, 32), (kind, 10**6), ("random", 0)))
    assert forgetful > blind
    assert forgetful >= 0.97 * complete


@pytest.mark.parametrize("kind", ["tpe", "nsga2", "random", "gp"])
def test_what_was_asked_before_it_began_anew_can_be_told_after(kind: Any) -> None:
    study = Study(["minimize"] * 3, kind, 0, [], known=4)
    early = [study.ask() for _ in range(3)]
    for question in early:
        choose(question)
    for _ in range(8 if kind == "gp" else 70):
        tell(study, study.ask())
    first, second, third = early
    assert tell(study, first).state is TrialState.COMPLETE
    assert study.tell(second, None, {}, {"reason": "x"}).state is TrialState.FAIL
    study.drop(third)
    assert tell(study, study.ask()).params


def test_memory_does_not_grow_with_the_number_of_trials() -> None:
    study = Study(["minimize"] * 3, "random", 0, [], known=16)
    for _ in range(300):
        tell(study, study.ask())
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(2 * 272):
        tell(study, study.ask())
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 2 * 272 * 500


def trial(number: int, values: tuple[float, float], broken: float = 0.0) -> FrozenTrial:
    made = optuna.trial.create_trial(values=list(values), constraints={"x": broken})
    made.number = number
    return made


def test_the_most_informative_are_the_best_the_latest_and_some_of_the_others() -> None:
    draw = random.Random(0)
    bad = [trial(number, (draw.uniform(2, 3), draw.uniform(2, 3))) for number in range(100)]
    broken = [trial(number, (0.0, 0.0), broken=1.0) for number in range(100, 120)]
    good = [trial(number, (1 + number / 1000, 1.2 - number / 1000)) for number in range(120, 130)]
    late = [trial(number, (9.0, 9.0)) for number in range(130, 140)]
    failed = optuna.trial.create_trial(state=TrialState.FAIL)
    trials = [*bad, *broken, failed, *good, *late]
    picked = informative(trials, 40, MINIMIZE, seed=0)
    assert len(picked) == 40
    assert {item.number for item in picked} >= {item.number for item in (*good, *late)}
    assert sum(item in bad for item in picked) >= 12
    numbers = [item.number for item in picked]
    assert numbers == sorted(numbers)
    assert informative(bad, 100, MINIMIZE, seed=0) == bad
    assert informative(trials, 0, MINIMIZE, seed=0) == []
