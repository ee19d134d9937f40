import sys
from pathlib import Path

import pytest

from autoshrink.core import Accuracy, Candidate, Measurement, Metric, Recipe
from autoshrink.techniques.registry import techniques_of

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    """Import a benchmark's file by its name."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    before = set(sys.modules)

    def load(name):
        return __import__(name)

    yield load
    for name in set(sys.modules) - before:
        if (BENCHMARKS / f"{name}.py").exists():
            del sys.modules[name]


def timed(benchmark, name, quiet, loaded, meet=True):
    return benchmark("stopwatch").Timed(name, 0, quiet, loaded, quiet, 2 * loaded, True, True, meet, 0.5)


def test_a_stopwatch_that_load_does_not_move_is_believed(benchmark):
    found = [timed(benchmark, f"m{i}", q, q * (1 + d)) for i, (q, d) in enumerate([(1, 0.02), (2, -0.01), (4, 0.0)])]
    summary = benchmark("stopwatch").summarize(found)
    assert summary.median == pytest.approx(0.01)
    assert summary.worst == pytest.approx(0.02)
    assert summary.ranking == summary.meet == 1
    assert summary.plain_worst == pytest.approx(1.04)
    assert summary.reached


@pytest.mark.parametrize(("factors", "ranking"), [((1, 1, 1.2), 1), ((1.08, 1, 1.08), 1), ((1.09, 0.93, 1), 0.5)])
def test_one_wrong_figure_many_wrong_figures_and_a_wrong_order_are_told(benchmark, factors, ranking):
    quiet = (1, 1.1, 4)
    pairs = zip(quiet, factors, strict=True)
    summary = benchmark("stopwatch").summarize([timed(benchmark, "m", q, q * f, meet=False) for q, f in pairs])
    assert summary.ranking == pytest.approx(ranking)
    assert summary.meet == 0
    assert not summary.reached


def test_the_load_works_on_recipes_that_exist(benchmark):
    recipes = [benchmark("stopwatch_load").recipe(number) for number in range(4)]
    assert len({recipe.key for recipe in recipes}) == 4
    assert all(len(techniques_of(recipe)) == 3 for recipe in recipes)


def model(benchmark, number, kind, accuracy, latency, size, front=True):
    metrics = {"latency": Metric.exact(latency, "s"), "size": Metric.exact(size, "B")}
    candidate = Candidate(
        id=number,
        recipe=Recipe(),
        outcome="measured",
        measurement=Measurement(metrics=metrics),
        accuracy=Accuracy(test=accuracy),
    )
    return benchmark("peers_judge").Model(f"{kind} {number}", kind, Path("model.onnx"), front), candidate


ORIGINAL = (0, "original", 0.98, 100, 1000)


def verdict(benchmark, *rows):
    return benchmark("peers_judge").compare([model(benchmark, *row) for row in (ORIGINAL, *rows)], floor=0.9)


def test_hypervolume_is_the_dominated_share_of_the_box_of_floor_and_original(benchmark):
    rows = [
        (1, "ours", 0.95, 50, 500),
        (2, "ours", 0.89, 1, 1),  # below the floor: not on the front, dominates nothing
        (3, "ours", 0.94, 60, 600),  # dominated
        (4, "olive", 0.95, 50, 750),
        (5, "olive", 0.99, 200, 100),  # slower than the original
    ]
    found = verdict(benchmark, *rows)
    assert found.ours.hypervolume == pytest.approx(0.5 * 0.5 * 0.5)
    assert found.olive.hypervolume == pytest.approx(0.5 * 0.5 * 0.25)
    assert found.ratio == pytest.approx(2)
    assert found.ours.front == ["ours 1"]
    assert (found.ours.latency, found.ours.size) == (50, 500)
    assert [item.model.name for item in found.shown] == [f"{row[1]} {row[0]}" for row in (ORIGINAL, *rows)]


def test_what_a_search_made_and_did_not_choose_counts_apart(benchmark):
    rows = [(1, "ours", 0.95, 50, 500), (2, "ours", 0.95, 25, 500, False), (3, "olive", 0.95, 50, 500, False)]
    found = verdict(benchmark, *rows, (4, "tool", 0.95, 40, 600))
    assert found.ours.hypervolume == pytest.approx(0.5 * 0.5 * 0.5)
    assert found.ours_all.hypervolume == pytest.approx(0.5 * 0.75 * 0.5)
    assert found.olive.hypervolume == 0
    assert found.ratio is None
    assert found.ratio_all == pytest.approx(1.5)
    assert [item.model.name for item in found.shown] == ["original 0", "ours 1", "tool 4"]
    assert found.against["tool 4"].faster == pytest.approx(0.8)


def test_points_that_are_equal_or_better_in_something_are_not_dominated(benchmark):
    points = [(1, 2, 3), (1, 2, 3), (1, 2, 4), (0, 5, 5), (2, 2, 2)]
    assert benchmark("peers_judge").nondominated(points) == [True, True, False, True, True]
    assert benchmark("peers_judge").nondominated([]) == []


def test_a_tool_is_beaten_by_the_model_that_is_best_in_both(benchmark):
    rows = [(1, "ours", 0.95, 50, 900), (2, "ours", 0.95, 80, 400), (3, "ours", 0.8, 1, 1), (4, "olive", 0.8, 1, 1)]
    found = verdict(benchmark, *rows, (5, "tool", 0.95, 100, 800), (6, "tool", 0.95, 60, 600))
    weak, strong = found.against["tool 5"], found.against["tool 6"]
    assert weak.both
    assert (weak.by, weak.faster, weak.smaller) == ("ours 2", 1.25, 2)
    assert not strong.both
    assert found.ratio is None
    assert found.olive.latency is None


def test_where_nothing_reaches_the_floor_nothing_is_beaten(benchmark):
    found = verdict(benchmark, (1, "ours", 0.5, 1, 1), (2, "olive", 0.95, 50, 500), (3, "tool", 0.95, 60, 600))
    assert found.against == {"tool 3": None}
    assert found.ours.hypervolume == found.ratio == 0
