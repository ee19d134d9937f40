"""The forecast: cautious while it knows little, right on candidates that behave alike, and never below its own mean."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoshrink.search.forecast import Clues, Forecast

FACTS = {"nonzero": 1e5, "macs": 1e6}


def forecast() -> Forecast:
    return Forecast(1.0, Clues(2, 0.95, FACTS, 1e5))


def clues(accuracy: float | None, rung: int = 0, shrunk: float = 2.0) -> Clues:
    return Clues(rung, accuracy, {name: value / shrunk for name, value in FACTS.items()}, 1e5 / shrunk)


def taught(count: int, spread: float = 0.0) -> Forecast:
    """Errors end at the square root of what they began with times the original's, give or take."""
    random = np.random.default_rng(0)
    learned = forecast()
    for _ in range(count):
        error = random.uniform(0.06, 0.9)
        final = math.sqrt(error * 0.05) * math.exp(spread * random.normal())
        learned.learn(clues(1 - error, shrunk=random.uniform(1, 10)), 1 - final)
    return learned


def test_nothing_is_certain_while_nothing_is_known() -> None:
    for accuracy in (None, 0.1, 0.5, 0.95):
        assert forecast().of(clues(accuracy)).best > 0.95


def test_a_few_that_agree_don_t_rule_anything_out_that_is_near() -> None:
    expected = taught(4).of(clues(1 - 0.2))
    assert expected.best > expected.value + 0.005


@pytest.mark.parametrize("error", [0.08, 0.2, 0.6])
def test_it_learns_how_errors_end(error: float) -> None:
    expected = taught(30).of(clues(1 - error))
    assert 1 - expected.value == pytest.approx(math.sqrt(error * 0.05), rel=0.1)
    assert expected.best - expected.value < 0.02


def test_its_best_covers_nineteen_of_twenty() -> None:
    random, learned = np.random.default_rng(1), taught(40, spread=0.2)
    hits = 0
    for _ in range(200):
        error = random.uniform(0.06, 0.9)
        final = 1 - math.sqrt(error * 0.05) * math.exp(0.2 * random.normal())
        hits += final <= learned.of(clues(1 - error)).best
    assert hits >= 185


def test_rungs_are_learned_by_themselves() -> None:
    learned = taught(30)
    assert learned.of(clues(0.8, rung=1)).best > learned.of(clues(0.8)).best


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 30))
def test_the_best_is_never_below_the_mean(accuracy: float, final: float, count: int) -> None:
    learned = taught(count)
    learned.learn(clues(accuracy), final)
    expected = learned.of(clues(accuracy))
    assert expected.best >= expected.value
    assert math.isfinite(expected.value)


def test_errors_below_zero_have_no_trouble() -> None:
    learned = Forecast(0.0, Clues(2, -0.5, FACTS, 1e5))  # a negated error: 0 is ideal
    for error in (0.6, 0.8, 1.0, 2.0, 3.0):
        learned.learn(clues(-error), -0.5 - 0.1 * error)
    assert learned.of(clues(-1.5)).value == pytest.approx(-0.65, abs=0.05)
