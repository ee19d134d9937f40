"""The benchmark of the engine's cost: its simulated work drives the real engine, and its sums are right."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from autoshrink.core import Recipe
from autoshrink.models.recovery import RUNGS

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def overhead(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import overhead

    return overhead


@pytest.fixture
def overhead_work(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import overhead_work

    return overhead_work


def test_busy_seconds_are_those_inside_the_window(overhead_work: ModuleType) -> None:
    naps = overhead_work.Naps([(0.0, 4.0), (3.0, 5.0), (9.0, 12.0), (20.0, 21.0)])
    assert naps.between(2.0, 10.0) == pytest.approx(2.0 + 2.0 + 1.0)


def test_a_recovery_helps_and_the_same_recipe_scores_the_same(overhead_work: ModuleType) -> None:
    steps = [{"kind": "channel_pruning", "ratio": 0.6}, {"kind": "distillation", "alpha": 0.65, "temperature": 4.0}]
    recipe = Recipe.model_validate({"steps": steps})
    before, after = overhead_work.simulate(recipe, 0), overhead_work.simulate(recipe, len(RUNGS))
    assert after == overhead_work.simulate(recipe, len(RUNGS))
    assert after["accuracy"] > before["accuracy"]
    assert (after["latency"], after["size"]) == (before["latency"], before["size"])


def test_the_real_engine_is_measured(overhead: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overhead, "MARKS", (20,))
    monkeypatch.setattr(overhead, "SPAN", 10)
    (cost,) = overhead.cost_of(24, tmp_path)
    assert cost.candidates == 20
    assert 0 < cost.counted <= cost.engine
    assert cost.disk > 0
