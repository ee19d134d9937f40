"""The funnel at work, end to end: what is stopped costs no training, what is shared is trained once, and is kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from autoshrink.core import Source, Target
from autoshrink.search.cache import Cache
from autoshrink.search.store import Store
from autoshrink.search.watcher import Progress
from autoshrink.service.run import Finished, run
from autoshrink.techniques.base import Stage
from autoshrink.techniques.registry import recovery_of, until

SPACE = {
    "steps": [
        {"kind": "channel_pruning", "optional": True, "ratio": {"low": 0.2, "high": 0.8, "step": 0.2}},
        {"kind": "distillation", "epochs": 2},
        {"kind": "quantization", "weight_bits": [32, 8], "scheme": ["static", "weight_only"]},
    ]
}


def target(folder: Path, size: str, candidates: int) -> Target:
    return Target.parse(
        {
            "model": "model.py:build",
            "weights": "weights.safetensors",
            "data": "data.py:splits",
            "accuracy": {"max_drop": 0.06},
            "hardware": "cpu",
            "budget": {"latency": "5 ms", "size": size},
            "search": {"space": SPACE, "candidates": candidates, "workers": 2},
        },
        Source("target.yaml", folder=folder),
    )


class Stages:
    """Remembers what a search said of itself."""

    def __init__(self) -> None:
        self.seen: list[Progress] = []

    def update(self, progress: Progress) -> None:
        self.seen.append(progress)


@pytest.fixture(scope="module")
def project(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(trained, tmp_path_factory.mktemp("engine") / "mine"))


def searched(folder: Path, size: str, candidates: int) -> tuple[Finished, Stages]:
    wanted, stages = target(folder, size, candidates), Stages()
    store = Store.create(folder / "searches", wanted)
    return run(wanted, store, watcher=stages, uri=f"sqlite:///{folder}/mlflow.db"), stages


@pytest.fixture(scope="module")
def first(project: Path) -> tuple[Finished, Stages]:
    return searched(project, "6 kB", 12)


def states(done: Finished) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for candidate in done.document["candidates"][1:]:
        found.setdefault(candidate["state"], []).append(candidate)
    return found


def test_what_is_over_the_budget_is_stopped_with_its_costs_known(first: tuple[Finished, Stages]) -> None:
    stopped = [c for c in states(first[0]).get("stopped", []) if c["reason"].startswith("before any training")]
    assert stopped, "5,000 weights of 8 bits with the graph don't fit 6 kB"
    for candidate in stopped:
        assert candidate["metrics"]["size"]["value"] > 6_000
        assert candidate["accuracy"] == {"validation": None, "test": None}
        assert candidate["artifact"] is None
        assert "size" in candidate["reason"]
        # Shapes and formats were built, and nothing was trained.
        assert candidate["seconds"].get("train", 0.0) < 1.0


def test_every_candidate_is_accounted_for_and_the_front_keeps_the_limits(first: tuple[Finished, Stages]) -> None:
    document = first[0].document
    assert len(document["candidates"]) == 13
    assert document["front"]
    assert document["confirmed"]
    for candidate in document["candidates"]:
        if candidate["id"] in document["front"]:
            assert candidate["metrics"]["size"]["high"] <= 6_000
            assert candidate["accuracy"]["test"] is not None
    assert set(document["seconds"]) >= {"total", "train", "export", "measure", "engine"}
    assert document["seconds"]["engine"] < document["seconds"]["total"]


def test_it_says_what_the_space_can_reach_before_it_searches(first: tuple[Finished, Stages]) -> None:
    done, stages = first
    names = [progress.stage for progress in stages.seen]
    assert names.index("measuring what the space can reach") < names.index("searching")
    reach = json.loads((done.store.folder / "reach.json").read_text())
    assert reach["least"]["size"]["value"] < 6_000 < reach["most"]["size"]["value"]
    assert next(progress for progress in stages.seen if progress.stage == "searching").reach.startswith("latency")


def test_a_structure_is_trained_once(first: tuple[Finished, Stages]) -> None:
    store = first[0].store
    cache = store.folder.parent / ".cache"
    [model] = cache.iterdir()
    kept = Cache(store.folder.parent, model.name.partition("-")[0])
    starts = {key.partition("-")[0]: (kept.read("starts", key) or b"").decode() for key in kept.keys("starts")}
    measured = [c.recipe for c in store.candidates()[1:] if c.outcome == "measured"]
    trained = {
        f"{starts[until(recipe, Stage.STRUCTURE).key]}-{recovery_of(recipe).key}-0"
        for recipe in measured
        if recovery_of(recipe).steps
    }
    assert {path.stem for path in cache.glob("*/weights/*.safetensors")} == trained
    assert 0 < len(trained) < len(measured)


def test_another_budget_begins_with_what_is_known(project: Path, first: tuple[Finished, Stages]) -> None:
    before = {c.key: c for c in first[0].store.candidates()[1:] if c.outcome == "measured"}
    again, _ = searched(project, "4 kB", 8)
    taken_over = [c for c in again.store.candidates()[1:] if c.key in before]
    assert taken_over
    for candidate in taken_over:
        if candidate.outcome == "measured":
            # The same weights in the same format are the same file.
            assert candidate.artifact is not None
            assert candidate.artifact.key == before[candidate.key].artifact.key  # type: ignore[union-attr]
    front = [c for c in again.document["candidates"] if c["state"] == "front"]
    assert front
    assert all(c["metrics"]["size"]["value"] <= 4_000 for c in front)


def test_a_budget_that_nothing_meets_ends_before_any_training(project: Path) -> None:
    done, stages = searched(project, "500 B", 8)
    assert done.front.members == []
    assert "searching" not in [progress.stage for progress in stages.seen]
    assert done.document["seconds"]["train"] < 1.0  # the original's export
    assert states(done).keys() == {"stopped"}
    assert done.front.binding() == ["size"]
    assert done.front.nearest_miss() is not None
    begun = next(p.elapsed for p in stages.seen if p.stage == "measuring what the space can reach")
    assert stages.seen[-1].elapsed - begun < 30  # on a busy machine; a quiet one takes a few seconds
