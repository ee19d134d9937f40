"""The tally: what it says after each candidate is what `judge` says of all of them."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoshrink.core import COSTS, Accuracy, Candidate, Front, Limits, Measurement, Metric, Recipe, Tally, judge

OBJECTIVES = ("accuracy", "latency", "size")
LIMITS = Limits(floor=0.5, test_floor=0.45, costs={"latency": 40e-6}, baseline={"latency": 100e-6, "size": 1e6})

# Few values, so that ties and duplicates are common.
figures = st.tuples(
    st.sampled_from([None, 0.4, 0.5, 0.9, 0.95, 1.0]),
    st.sampled_from([None, 10e-6, 20e-6, 39e-6, 40e-6, 41e-6, 90e-6]),
    st.sampled_from([None, 1e5, 2e5, 1e6, 3e6]),
    st.sampled_from(["measured"] * 6 + ["refused", "stopped", "failed"]),
    st.sampled_from([None, None, 0.4, 0.95]),
)
rows = st.lists(st.tuples(st.integers(0, 9), figures), max_size=20)
objectives = st.lists(st.sampled_from(OBJECTIVES), min_size=1, max_size=3, unique=True).map(tuple)


def asked_in_a_search(rows):
    """Nobody is judged by the test split while the search goes on; its floor is another one."""
    return [candidate(number, (*figures[:4], None)) for number, figures in dict(rows).items()]


def candidate(number: int, figures: tuple[object, ...]) -> Candidate:
    accuracy, latency, size, outcome, test = figures
    costs = {"latency": latency, "size": size}
    metrics = {
        name: Metric(value=value, unit=COSTS[name], low=value, high=value * 1.01, origin="modelled")
        for name, value in costs.items()
        if value is not None
    }
    return Candidate(
        id=number,
        recipe=Recipe(),
        outcome=outcome,
        reason="" if outcome == "measured" else f"it was {outcome}",
        measurement=Measurement(metrics=metrics),
        accuracy=Accuracy(validation=accuracy, test=test if accuracy is not None else None),
    )


def assert_equal(tally: Tally, front: Front) -> None:
    assert [member.id for member in tally.members] == [member.id for member in front.members]
    assert {item.candidate.id: item.state for item in front.judged} == {
        item.candidate.id: tally.state(item.candidate.id) for item in front.judged
    }
    assert tally.counts == Counter(item.state for item in front.judged if item.candidate.id)
    assert tally.hypervolume == pytest.approx(front.hypervolume)
    nearest = front.nearest_miss()
    assert tally.nearest_miss == (nearest.id if nearest else None)
    assert tally.binding == front.binding()
    for name in tally.objectives:
        best, wanted = tally.best(name), front.best(name)
        assert (best.id if best else None) == (wanted.id if wanted else None)
        if best and wanted and name == "accuracy":
            assert tally.figure(best, name) in (wanted.accuracy.test, wanted.accuracy.validation)
        elif best and wanted:
            shown = tally.figure(best, name)
            assert isinstance(shown, Metric)
            assert (shown.value, shown.origin) == (wanted.metrics[name].value, "modelled")


@given(rows, objectives)
def test_one_at_a_time_is_all_at_once_whatever_is_added_or_replaced(rows, names):
    tally, known = Tally(names, LIMITS), {}
    for number, figures in rows:
        known[number] = candidate(number, figures)
        added = tally.add(known[number])
        front = judge([known[key] for key in sorted(known)], names, LIMITS)
        assert_equal(tally, front)
        assert added in front.judged
    assert len(tally) == len(known)


@given(rows, objectives, st.integers(0, 2**32))
def test_the_order_makes_no_difference(rows, names, seed):
    candidates = [candidate(number, figures) for number, figures in dict(rows).items()]
    shuffled = random.Random(seed).sample(candidates, len(candidates))
    assert_equal(Tally(names, LIMITS, shuffled), judge(sorted(candidates, key=lambda c: c.id), names, LIMITS))


@given(rows, objectives, figures)
def test_a_gain_is_what_the_hypervolume_grows_by(rows, names, last):
    new = candidate(10, (*last[:3], "measured", None))
    tally = Tally(names, LIMITS, asked_in_a_search(rows))
    before = tally.hypervolume
    if judge([new], names, LIMITS).members:
        point = [LIMITS.scaled(new, name) for name in names]
        gain = tally.gain(point)
        surpassed = tally.surpassed(point)
        assert surpassed is None or gain == pytest.approx(0)
        state = tally.add(new).state
        assert tally.hypervolume - before == pytest.approx(gain)
        assert surpassed is None or state == "dominated"


@given(rows, figures, figures)
def test_a_gain_beside_what_is_counted_on_is_the_gain_after_it(rows, other, last):
    tally = Tally(OBJECTIVES, LIMITS, asked_in_a_search(rows))
    new = [candidate(10 + number, (*figures[:3], "measured", None)) for number, figures in enumerate((other, last))]
    if all(judge([item], OBJECTIVES, LIMITS).members for item in new):
        first, second = ([LIMITS.scaled(item, name) for name in OBJECTIVES] for item in new)
        beside = tally.gain(second, [first])
        tally.add(new[0])
        assert tally.gain(second) == pytest.approx(beside)


def test_what_was_behind_a_member_comes_forward_when_that_breaks_a_limit():
    good, behind = (
        candidate(number, (0.9, latency, 1e5, "measured", None)) for number, latency in ((1, 1e-5), (2, 2e-5))
    )
    tally = Tally(OBJECTIVES, LIMITS, [good, behind])
    assert [member.id for member in tally.members] == [1]
    tally.add(candidate(1, (0.9, 1e-5, 1e5, "measured", 0.3)))
    assert [member.id for member in tally.members] == [2]
    assert tally.counts == {"front": 1, "over_budget": 1}
    assert (tally.nearest_miss, tally.binding) == (1, ["accuracy"])


def test_where_all_was_stopped_the_limit_that_stopped_it_binds():
    slow = [candidate(number, (None, latency, 1e5, "stopped", None)) for number, latency in ((1, 9e-5), (2, 8e-5))]
    hopeless = candidate(3, (None, 1e-5, 1e5, "stopped", None))
    front = judge([*slow, hopeless], OBJECTIVES, LIMITS)
    assert front.binding() == ["latency"]
    assert front.nearest_miss() == slow[1]
