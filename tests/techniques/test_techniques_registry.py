"""Recipes in canonical form, spaces that are checked, and what is drawn from them."""

from __future__ import annotations

import functools
import random
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from autoshrink.core import Encoding, Range, Recipe, Setting, Space, SpecError, Step
from autoshrink.core.recipe import Scalar
from autoshrink.techniques import registry
from autoshrink.techniques.registry import canonical, check_recipe, check_space, draw, settled, techniques_of

# Settings of a technique, and which of them have no effect beside the others.
CASES: list[tuple[str, dict[str, object], set[str]]] = [
    ("channel_pruning", {"ratio": 0.5}, set()),
    ("channel_pruning", {"ratio": 0.5, "scope": "layer", "max_ratio": 0.7}, {"max_ratio"}),
    ("low_rank", {"rank_ratio": 0.3}, {"energy"}),
    ("low_rank", {"energy": 0.9, "decomposition": "svd"}, {"rank_ratio"}),
    ("magnitude_pruning", {"sparsity": 0.3}, set()),
    ("magnitude_pruning", {"pattern": "2:4", "sparsity": 0.3, "scope": "layer"}, {"sparsity", "scope"}),
    ("distillation", {"alpha": 0.2}, set()),
    ("weight_sharing", {"entries": 64, "epochs": 3}, set()),
    ("quantization", {}, {"block_size", "sensitive_share"}),
    ("quantization", {"weight_bits": 4, "sensitive_share": 0.1}, {"granularity"}),
    (
        "quantization",
        {"weight_bits": 16, "calibration": "entropy"},
        {"scheme", "calibration", "granularity", "block_size", "sensitive_share", "qat_epochs"},
    ),
]
settings_of_a_technique = st.sampled_from(CASES).map(lambda case: Setting.model_validate({"kind": case[0], **case[1]}))
recipes = st.lists(settings_of_a_technique, unique_by=lambda setting: setting.kind).map(
    lambda s: Recipe(steps=tuple(s))
)


def one_step(kind: str, **settings: object) -> Recipe:
    return Recipe(steps=(Setting.model_validate({"kind": kind, **settings}),))


@given(recipes, st.randoms(use_true_random=False))
def test_canonical_recipes(recipe: Recipe, shuffler: random.Random) -> None:
    spelled = canonical(recipe)
    assert canonical(spelled) == spelled
    steps = list(recipe.steps)
    shuffler.shuffle(steps)
    assert canonical(Recipe(steps=tuple(steps))).key == spelled.key
    assert [item.stage for item in techniques_of(spelled)] == sorted(item.stage for item in techniques_of(spelled))
    check_recipe(spelled)


@pytest.mark.parametrize(("kind", "settings", "idle"), CASES)
def test_defaults_are_spelled_out_and_idle_settings_left_out(
    kind: str, settings: dict[str, object], idle: set[str]
) -> None:
    recovery = () if kind == "distillation" else (Setting(kind="distillation"),)
    recipe = Recipe(steps=(Setting.model_validate({"kind": kind, **settings}), *recovery))
    spelled = canonical(recipe).setting(kind)
    assert spelled is not None
    assert set(spelled.params) == set(registry.technique(kind).model_fields) - idle


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("magnitude_pruning", {"pattern": "2:4", "sparsity": 0.3}), ("magnitude_pruning", {"pattern": "2:4"})),
        (
            ("channel_pruning", {"ratio": 0.5, "scope": "layer", "max_ratio": 0.6}),
            ("channel_pruning", {"ratio": 0.5, "scope": "layer"}),
        ),
        (("weight_sharing", {"epochs": 9}), ("weight_sharing", {})),  # nothing is fine-tuned without a recovery step
        (("distillation", {"temperature": 4}), ("distillation", {})),
    ],
)
def test_what_has_no_effect_does_not_change_the_key(one: tuple[str, dict], other: tuple[str, dict]) -> None:
    assert canonical(one_step(one[0], **one[1])).key == canonical(one_step(other[0], **other[1])).key


def test_what_has_an_effect_changes_the_key() -> None:
    tuned, longer = (
        canonical(Recipe(steps=(*one_step("weight_sharing", epochs=epochs).steps, Setting(kind="distillation"))))
        for epochs in (1, 2)
    )
    assert tuned.key != longer.key


def test_order_of_application() -> None:
    kinds = ["quantization", "weight_sharing", "distillation", "magnitude_pruning", "low_rank", "channel_pruning"]
    settings = {"channel_pruning": {"ratio": 0.5}, "low_rank": {"energy": 0.9}}
    recipe = Recipe(steps=tuple(Setting.model_validate({"kind": kind, **settings.get(kind, {})}) for kind in kinds))
    assert [item.kind for item in techniques_of(recipe)] == list(reversed(kinds))


BAD_SPACES = {
    "{kind: low_ranks, rank_ratio: 0.5}": r"\[0\].kind: no technique 'low_ranks'; did you mean 'low_rank'",
    "{kind: low_rank, rang_ratio: 0.5}": r"\[0\].rang_ratio: low_rank has no such setting; did you mean 'rank_ratio'",
    "{kind: low_rank}": r"\[0\]: low_rank needs either 'rank_ratio'",
    "{kind: low_rank, rank_ratio: [0.2, 0.5], energy: 0.5}": "and not both",
    "{kind: channel_pruning, criterion: l1}": r"\[0\].ratio: channel_pruning needs this setting",
    "{kind: channel_pruning, ratio: {low: 0.1, high: 1.2}}": r"\[0\].ratio: input should be less than 1, not 1.2",
    "{kind: channel_pruning, ratio: 0.5, criterion: [l1, l3]}": r"\[0\].criterion: input should be 'l1', .*'l3'",
    "{kind: channel_pruning, ratio: 0.5, round_to: {low: 4, high: 8, step: 0.5}}": r"\[0\].round_to: .* 4.5",
    "{kind: weight_sharing, entries: {low: 16.0, high: 256.0}}": r"\[0\].entries: .*integer",
    "{kind: magnitude_pruning, pattern: '3:4'}": r"\[0\].pattern: input should be 'unstructured' or '2:4'",
    "{kind: magnitude_pruning, sparsity: {low: 0.5, high: 1}}": r"\[0\].sparsity: input should be less than 1, not 1",
}


@pytest.mark.parametrize("step", BAD_SPACES)
def test_bad_spaces_are_found_before_anything_is_drawn(step: str, tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(f"name: test\nsteps:\n  - {step}\n")
    with pytest.raises(SpecError, match=BAD_SPACES[step]) as caught:
        check_space(Space.read(file))
    assert f"{file}:3: steps[0]" in str(caught.value)


SPACE = """
steps:
  - {kind: channel_pruning, optional: true, ratio: {low: 0.1, high: 0.9}, criterion: [l1, taylor],
     max_ratio: [0.8, 0.9], scope: [global, layer], round_to: [4, 8], steps: {low: 1, high: 4}}
  - {kind: low_rank, optional: true, rank_ratio: {low: 0.1, high: 0.9}, decomposition: [tucker, svd]}
  - {kind: magnitude_pruning, optional: true, pattern: [unstructured, '2:4'], sparsity: {low: 0.3, high: 0.9}}
  - {kind: distillation, optional: true, temperature: {low: 1, high: 8, log: true}, alpha: [0.1, 0.9], epochs: 2}
  - {kind: weight_sharing, optional: true, entries: [16, 32, 256], epochs: {low: 0, high: 3}}
  - {kind: quantization, optional: true, weight_bits: [16, 8, 4], scheme: [static, weight_only], qat_epochs: [0, 2],
     sensitive_share: [0, 0.1]}
"""


class Recorder:
    """Draws by a seed, and notes what it was asked."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.asked: list[str] = []

    def choice(self, name: str, values: tuple[Scalar, ...]) -> Scalar:
        self.asked.append(name)
        return self.random.choice(values)

    def range(self, name: str, interval: Range) -> int | float:
        self.asked.append(name)
        if interval.whole:
            return self.random.randint(int(interval.low), int(interval.high))
        return self.random.uniform(interval.low, interval.high)


@functools.cache
def space() -> Space:
    return Space.model_validate(yaml.safe_load(SPACE))


@given(st.integers(0, 10_000))
def test_what_is_drawn_is_canonical_valid_and_reproducible(seed: int) -> None:
    recorder = Recorder(seed)
    recipe = draw(space(), recorder, lambda encoding: "")
    assert canonical(recipe) == recipe
    assert draw(space(), Recorder(seed), lambda encoding: "") == recipe
    assert len(recorder.asked) == len(set(recorder.asked))
    for item, setting in zip(techniques_of(recipe), recipe.steps, strict=True):
        assert item.kind == setting.kind
        assert {f"{item.kind}.use", f"{item.kind}.format"} & set(recorder.asked)
    # What is not drawn has no place in the sampler's space, and what has no effect isn't asked for.
    unused = {step.kind for step in space().steps} - {step.kind for step in recipe.steps}
    assert not [
        name for name in recorder.asked if name.split(".")[0] in unused and not name.endswith((".use", ".format"))
    ]
    pruning = recipe.setting("magnitude_pruning")
    if pruning is not None:
        assert ("magnitude_pruning.sparsity" in recorder.asked) == (pruning.params["pattern"] == "unstructured")
    quantization = recipe.setting("quantization")
    if quantization is not None:
        assert ("quantization.sensitive_share" in recorder.asked) == (quantization.params["weight_bits"] == 4)
    channels = recipe.setting("channel_pruning")
    if channels is not None:
        assert ("channel_pruning.max_ratio" in recorder.asked) == (channels.params["scope"] == "global")


@given(st.integers(0, 1000))
def test_only_what_the_backend_accepts_is_drawn(seed: int) -> None:
    def accepts(encoding: Encoding) -> str:
        return "no codebooks here" if encoding.codebook else ""

    recorder = Recorder(seed)
    recipe = draw(space(), recorder, accepts)
    assert recipe.setting("weight_sharing") is None
    assert not [name for name in recorder.asked if name.startswith("weight_sharing")]


def test_a_good_space_passes() -> None:
    check_space(space())


def test_fixed_settings_are_not_asked_for() -> None:
    recorder = Recorder(0)
    step = {"kind": "distillation", "epochs": 2, "alpha": [0.5]}
    recipe = draw(Space(steps=(Step.model_validate(step),)), recorder, lambda encoding: "")
    assert recorder.asked == []
    assert recipe.setting("distillation").params["epochs"] == 2


def test_settings_are_checked_without_torch() -> None:
    code = "import sys; from autoshrink.techniques.registry import kinds, technique; list(map(technique, kinds()))"
    subprocess.run([sys.executable, "-c", f"{code}; sys.exit('torch' in sys.modules)"], check=True)


def test_techniques_are_the_files_of_the_room() -> None:
    files = {file.stem for file in Path(registry.__file__).parent.glob("*.py")}
    assert set(registry.kinds()) == files - {"__init__", *registry._NOT_TECHNIQUES}
    for kind in registry.kinds():
        assert registry.technique(kind).kind == kind
    with pytest.raises(SpecError, match="no technique 'quantisation'"):
        registry.technique("quantisation")


def test_a_settled_recipe_trains_nothing_in_its_encoding() -> None:
    steps = [
        {"kind": "channel_pruning", "ratio": 0.5},
        {"kind": "distillation", "epochs": 2},
        {"kind": "weight_sharing", "entries": 16},
        {"kind": "quantization", "scheme": "static", "qat_epochs": 2},
    ]
    recipe = canonical(Recipe.model_validate({"steps": steps}))
    found = settled(recipe)
    assert found.setting("weight_sharing").params["epochs"] == 0  # type: ignore[union-attr]
    assert not found.setting("quantization").params.get("qat_epochs")  # type: ignore[union-attr]
    assert found.setting("distillation") == recipe.setting("distillation")
    assert settled(found) == found
    assert settled(without := canonical(Recipe.model_validate({"steps": steps[:2]}))) == without
