"""What a worker does: no gradient step before costs are known, and no training twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from torch.optim.optimizer import register_optimizer_step_post_hook

from autoshrink.core import Recipe, Setting, Source, Target
from autoshrink.search.work import Compressed, compress_recipe, measure_artifact

MODEL = """\
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 10),
    )
"""
DATA = """\
from sklearn.datasets import load_digits

def splits():
    digits = load_digits()
    x, y = (digits.images / 16).astype("float32")[:, None], digits.target
    return {"train": (x[:600], y[:600]), "validation": (x[600:800], y[600:800]), "test": (x[800:], y[800:])}
"""
TARGET = {
    "model": "model.py:build",
    "data": "data.py:splits",
    "accuracy": {"floor": 0.0},
    "hardware": "cpu",
    "budget": {"latency": "5 ms"},
    "search": {"space": "cnn"},
}
EVERYTHING = (
    {"kind": "channel_pruning", "ratio": 0.5, "criterion": "taylor"},
    {"kind": "low_rank", "rank_ratio": 0.5},
    {"kind": "magnitude_pruning", "sparsity": 0.3},
    {"kind": "distillation", "epochs": 2},
    {"kind": "weight_sharing", "entries": 16},
    {"kind": "quantization", "scheme": "static", "qat_epochs": 1},
)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Target:
    folder = tmp_path_factory.mktemp("work")
    (folder / "model.py").write_text(MODEL)
    (folder / "data.py").write_text(DATA)
    return Target.parse(TARGET, Source("target.yaml", folder=folder))


@pytest.fixture
def steps() -> Iterator[list[int]]:
    """Counts the gradient steps that any optimizer takes."""
    counted = [0]
    hook = register_optimizer_step_post_hook(lambda *_: counted.__setitem__(0, counted[0] + 1))
    yield counted
    hook.remove()


def recipe(*settings: dict[str, object]) -> Recipe:
    return Recipe(steps=tuple(Setting.model_validate(setting) for setting in settings))


def made(target: Target, *settings: dict[str, object], **how: object) -> Compressed:
    return compress_recipe(target, recipe(*settings), **how)  # type: ignore[arg-type]


def test_costs_are_known_without_a_gradient_step(target: Target, steps: list[int], tmp_path: Path) -> None:
    untrained = made(target, *EVERYTHING, rung=0)
    assert steps[0] == 0
    assert untrained.recovered is None
    recovered = made(target, *EVERYTHING)
    assert steps[0] > 0
    # The same shapes, operators and formats, so the same costs; other weights.
    assert untrained.artifact.structure == recovered.artifact.structure
    assert untrained.artifact.size == recovered.artifact.size
    assert untrained.artifact.key != recovered.artifact.key


def test_other_shapes_and_formats_are_other_structures(target: Target) -> None:
    variants = [
        made(target, *settings, rung=0).artifact.structure
        for settings in (
            [],
            [{"kind": "channel_pruning", "ratio": 0.5}],
            [{"kind": "quantization"}],
            [{"kind": "quantization", "scheme": "weight_only"}],
            [{"kind": "quantization", "scheme": "weight_only", "weight_bits": 4}],
        )
    ]
    assert len(set(variants)) == len(variants)
    assert variants[2] == made(target, {"kind": "quantization", "calibration": "percentile"}).artifact.structure


def test_a_short_recovery_is_a_look_and_changes_nothing(target: Target, steps: list[int], tmp_path: Path) -> None:
    whole = made(target, *EVERYTHING[:4])
    all_steps, steps[0] = steps[0], 0
    short = made(target, *EVERYTHING[:4], rung=1, scratch=tmp_path)
    assert 0 < steps[0] < all_steps / 2
    assert short.artifact.key != whole.artifact.key
    assert made(target, *EVERYTHING[:4], rung=2, scratch=tmp_path).artifact.key == whole.artifact.key


def test_five_encodings_of_one_structure_train_once(target: Target, steps: list[int]) -> None:
    shared = EVERYTHING[0], EVERYTHING[3]
    first = made(target, *shared)
    assert first.recovered is not None
    steps[0] = 0
    for encoding in (
        {"kind": "quantization"},
        {"kind": "quantization", "calibration": "percentile"},
        {"kind": "quantization", "scheme": "weight_only"},
        {"kind": "quantization", "scheme": "weight_only", "weight_bits": 4},
        {"kind": "quantization", "weight_bits": 16},
    ):
        again = made(target, *shared, encoding, known=first.recovered)
        assert steps[0] == 0
        assert again.artifact.key == made(target, *shared, encoding).artifact.key
        steps[0] = 0


def test_settings_that_prune_the_same_channels_begin_a_recovery_with_the_same_model(target: Target) -> None:
    def start(ratio: float) -> str | None:
        return made(target, pruned(ratio), EVERYTHING[3], rung=0).start

    def pruned(ratio: float) -> dict[str, object]:
        return {"kind": "channel_pruning", "ratio": ratio, "round_to": 4}

    assert start(0.5) == start(0.51) != start(0.75)
    whole = made(target, pruned(0.5), EVERYTHING[3])
    assert whole.start == start(0.5)
    assert whole.recovered is not None
    known = made(target, pruned(0.51), EVERYTHING[3], known=whole.recovered)
    assert known.artifact.key == whole.artifact.key


def test_scoring_alone_gives_the_same_accuracy_and_no_costs(target: Target, tmp_path: Path) -> None:
    artifact = made(target, {"kind": "quantization"})
    scored = measure_artifact(target, artifact.artifact, artifact.files, wants=(), scratch=tmp_path)
    whole = measure_artifact(target, artifact.artifact, artifact.files, effort="quick", scratch=tmp_path)
    assert scored.measurement.metrics == {}
    assert set(whole.measurement.metrics) >= {"latency", "memory", "size"}
    assert scored.accuracy.validation == whole.accuracy.validation
