import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoshrink.core import COSTS, Accuracy, Candidate, Front, Limits, Measurement, Metric, Recipe, judge

OBJECTIVES = ("accuracy", "latency", "size")
LIMITS = Limits(floor=0.5, costs={"latency": 40e-6}, baseline={"latency": 100e-6, "size": 1e6})


def candidate(number, accuracy=0.9, outcome="measured", test=None, spread=0.0, **costs):
    metrics = {
        name: Metric(value=x, unit=COSTS[name], low=x * (1 - spread), high=x * (1 + spread), origin="measured")
        for name, x in costs.items()
        if x is not None
    }
    return Candidate(
        id=number,
        recipe=Recipe(),
        outcome=outcome,
        reason="" if outcome == "measured" else f"it was {outcome}",
        accuracy=Accuracy(validation=accuracy, test=test),
        measurement=Measurement(metrics=metrics),
    )


# Few values, so that ties and duplicates are common.
accuracies = st.sampled_from([None, 0.4, 0.5, 0.9, 0.95, 1.0])
latencies = st.sampled_from([None, 10e-6, 20e-6, 39e-6, 40e-6, 41e-6, 90e-6])
sizes = st.sampled_from([None, 1e5, 2e5, 1e6, 3e6])
outcomes = st.sampled_from(["measured"] * 6 + ["refused", "stopped", "failed"])


@st.composite
def searches(draw):
    rows = draw(st.lists(st.tuples(accuracies, latencies, sizes, outcomes, st.sampled_from([0.0, 0.1])), max_size=14))
    return [
        candidate(number, accuracy, outcome, spread=spread, latency=latency, size=size)
        for number, (accuracy, latency, size, outcome, spread) in enumerate(rows)
    ]


objectives = st.lists(st.sampled_from(OBJECTIVES), min_size=1, max_size=3, unique=True).map(tuple)


def by_definition(candidates, names):
    """Ids of the front, straight from the words: breaks no limit, dominated by nobody, the first of equals."""

    def inside(one):
        latency = one.metrics.get("latency")
        return (
            one.outcome == "measured"
            and one.accuracy.validation is not None
            and one.accuracy.validation >= LIMITS.floor
            and latency is not None
            and latency.high <= LIMITS.costs["latency"]
            and all(name == "accuracy" or name in one.metrics for name in names)
        )

    def point(one):
        return [-one.accuracy.validation if name == "accuracy" else one.metrics[name].value for name in names]

    kept = [one for one in candidates if inside(one)]
    front = set()
    for one in kept:
        dominated = any(
            all(x <= y for x, y in zip(point(other), point(one), strict=True)) and point(other) != point(one)
            for other in kept
        )
        first = next(other for other in kept if point(other) == point(one))
        if not dominated and first is one:
            front.add(one.id)
    return front


@given(searches(), objectives)
def test_the_front_is_what_its_definition_says(candidates, names):
    front = judge(candidates, names, LIMITS)
    assert {member.id for member in front.members} == by_definition(candidates, names)


@given(searches(), objectives)
def test_every_candidate_is_judged_once_and_in_order(candidates, names):
    front = judge(candidates, names, LIMITS)
    assert [item.candidate for item in front.judged] == candidates
    for item in front.judged:
        if item.candidate.outcome != "measured":
            assert (item.state, item.reason) == (item.candidate.outcome, item.candidate.reason)
        assert bool(item.reason) == (item.state not in ("front", "dominated"))
        assert (item.state == "over_budget") == (
            item.candidate.outcome == "measured" and bool(LIMITS.excess(item.candidate))
        )


@given(searches(), objectives)
def test_nobody_on_the_front_breaks_a_limit_even_at_the_pessimistic_end(candidates, names):
    for member in judge(candidates, names, LIMITS).members:
        assert member.metrics["latency"].high <= LIMITS.costs["latency"]
        assert member.accuracy.validation >= LIMITS.floor
        assert LIMITS.excess(member) == {}
        assert LIMITS.explain(member) == ""


@given(searches(), objectives, st.integers(0, 2**32))
def test_the_front_does_not_depend_on_the_order_of_the_candidates(candidates, names, seed):
    def points(front):
        return sorted(front.point(member) for member in front.members)

    shuffled = random.Random(seed).sample(candidates, len(candidates))
    one, other = judge(candidates, names, LIMITS), judge(shuffled, names, LIMITS)
    assert points(one) == points(other)
    assert one.hypervolume == pytest.approx(other.hypervolume)


@given(searches(), objectives)
def test_the_hypervolume_grows_from_0_to_at_most_1(candidates, names):
    volumes = [judge(candidates[:n], names, LIMITS).hypervolume for n in range(len(candidates) + 1)]
    assert volumes[0] == 0
    assert all(before <= after + 1e-12 for before, after in itertools.pairwise(volumes))
    assert volumes[-1] <= 1


@given(searches(), objectives)
def test_knee_and_best_are_members_of_the_front(candidates, names):
    front = judge(candidates, names, LIMITS)
    knee, best = front.knee(), {name: front.best(name) for name in OBJECTIVES}
    if not front.members:
        assert knee is None
        assert set(best.values()) == {None}
        return
    assert knee in front.members
    assert best["accuracy"].accuracy.validation == max(member.accuracy.validation for member in front.members)
    assert best["latency"].metrics["latency"].value == min(m.metrics["latency"].value for m in front.members)


@given(searches())
def test_a_front_is_written_and_read_back(candidates):
    front = judge(candidates, OBJECTIVES, LIMITS)
    assert Front.model_validate_json(front.model_dump_json()) == front


def test_the_hypervolume_is_the_dominated_share_of_the_box():
    # Two boxes in accuracy × latency: (0.75 of the way up, half the budget) and (half of the way up, a quarter).
    good = candidate(0, accuracy=0.875, latency=20e-6)
    fast = candidate(1, accuracy=0.75, latency=10e-6)
    front = judge([good, fast], ("accuracy", "latency"), LIMITS)
    assert front.point(good) == pytest.approx([0.25, 0.5])
    assert front.point(fast) == pytest.approx([0.5, 0.25])
    assert front.hypervolume == pytest.approx(0.75 * 0.5 + 0.5 * 0.75 - 0.5 * 0.5)


def test_without_a_limit_the_original_is_the_scale_and_worse_than_it_adds_nothing():
    smaller, larger = candidate(0, latency=1e-6, size=2e5), candidate(1, latency=1e-6, size=2e6)
    names = ("size",)
    assert judge([smaller], names, LIMITS).hypervolume == pytest.approx(0.8)
    assert judge([larger], names, LIMITS).hypervolume == 0


@pytest.mark.parametrize(
    ("floor", "accuracy", "volume"),
    [(0.9, 0.95, 0.5), (0.0, 0.25, 0.25), (-0.2, -0.05, 0.75), (80.0, 90.0, 0.5), (200.0, 300.0, 0.5)],
    ids=["fraction", "no floor", "negated error", "percentage", "score"],
)
def test_the_scale_of_accuracy_fits_the_metric(floor, accuracy, volume):
    limits = Limits(floor=floor, costs={}, baseline={})
    assert judge([candidate(0, accuracy)], ("accuracy",), limits).hypervolume == pytest.approx(volume)


def test_the_knee_is_the_balanced_member():
    ends = [candidate(0, accuracy=0.99, latency=39e-6), candidate(2, accuracy=0.6, latency=1e-6)]
    middle = candidate(1, accuracy=0.95, latency=5e-6)
    assert judge([*ends, middle], ("accuracy", "latency"), LIMITS).knee() == middle


@pytest.mark.parametrize(
    ("made", "excess", "says"),
    [
        ({"latency": 40e-6}, {}, ""),
        (
            {"latency": 50e-6},
            {"latency": 0.25},
            "latency 50.0 µs is 25 % over the limit of 40.0 µs",
        ),
        (
            {"latency": 39e-6, "spread": 0.1},
            {"latency": 0.0725},
            "latency 39.0 µs (up to 42.9 µs) is 7.25 % over the limit of 40.0 µs",
        ),
        (
            {"latency": 40e-3},
            {"latency": 999},
            "latency 40.0 ms is 1,000 times the limit of 40.0 µs",
        ),
        (
            {"latency": 1e-6, "accuracy": 0.45},
            {"accuracy": 0.05},
            "accuracy 0.45 is 0.05 below the floor 0.5",
        ),
        (
            {"latency": 1e-6, "accuracy": 0.9, "test": 0.3},
            {"accuracy": 0.2},
            "accuracy 0.3 is 0.2 below the floor 0.5",
        ),
        ({"latency": 1e-6, "accuracy": None}, {"accuracy": math.inf}, "accuracy is not known"),
        ({"size": 1e5}, {"latency": math.inf}, "latency is not known"),
    ],
)
def test_the_excess_is_relative_to_the_limit_at_the_pessimistic_end(made, excess, says):
    one = candidate(0, **made)
    assert LIMITS.excess(one) == pytest.approx(excess)
    assert LIMITS.explain(one) == says


def test_the_floor_on_the_test_split_is_its_own():
    limits = Limits(floor=0.9, test_floor=0.8, costs={}, baseline={})
    assert limits.excess(candidate(0, accuracy=0.85)) == pytest.approx({"accuracy": 0.05})
    assert limits.excess(candidate(0, accuracy=0.95, test=0.85)) == {}
    assert limits.excess(candidate(0, accuracy=0.95, test=0.75)) == pytest.approx({"accuracy": 0.05})


def test_without_a_figure_for_an_objective_there_is_no_place_on_the_front():
    blind = candidate(0, accuracy=1.0, latency=1e-6)
    (judged,) = judge([blind], OBJECTIVES, LIMITS).judged
    assert (judged.state, judged.reason) == ("failed", "no figure for size")


def test_when_nothing_fits_the_binding_limit_and_the_nearest_miss_are_known():
    limits = Limits(floor=0.5, costs={"latency": 1e-9, "size": 1e6}, baseline={"latency": 1e-4, "size": 2e6})
    candidates = [
        candidate(0, latency=9e-6, size=2e6),
        candidate(1, latency=5e-6, size=1e5),
        candidate(2, latency=4e-6, size=1e5, accuracy=0.1),
        candidate(3, outcome="failed"),
        candidate(4, outcome="stopped", latency=2e-6, size=1e5),
    ]
    front = judge(candidates, OBJECTIVES, limits)
    assert front.members == []
    assert front.knee() is None
    assert front.binding() == ["latency"]
    assert front.nearest_miss().id == 4
    assert judge([], OBJECTIVES, limits).binding() == []
    assert judge([], OBJECTIVES, limits).nearest_miss() is None


def test_a_metric_lies_inside_its_band():
    with pytest.raises(ValueError, match=r"the value 3\.0 is outside its band 1\.0…2\.0"):
        Metric(value=3, unit="s", low=1, high=2, origin="measured")
    exact = Metric.exact(3, "B")
    assert (exact.low, exact.high, exact.origin) == (3, 3, "measured")
