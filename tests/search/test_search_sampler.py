"""The sampler: what is asked, what the study learns, and what a resumed study repeats."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from autoshrink.core import Accuracy, Candidate, Encoding, Limits, Metric, Recipe, Space, catalog_folder, names
from autoshrink.core.measurement import Measurement
from autoshrink.search.presets import PRESETS, Preset
from autoshrink.search.sampler import Draw, Sampler
from autoshrink.techniques.registry import draw

OBJECTIVES = ("accuracy", "latency", "size")
LIMITS = Limits(floor=0.9, costs={"latency": 1e-4}, baseline={"latency": 2e-4, "size": 1e6})


def anything(encoding: Encoding) -> str:
    return ""


def space(name: str) -> Space:
    return Space.read(catalog_folder("search_spaces") / f"{name}.yaml")


def sampler(folder: Path, kind: str = "tpe", seed: int = 0) -> Sampler:
    return Sampler(folder / "study.journal", "s", space("cnn"), anything, OBJECTIVES, kind=kind, seed=seed)  # type: ignore[arg-type]


def measured(draw: Draw, latency: float = 5e-5, accuracy: float = 0.95) -> Candidate:
    metrics = {"latency": Metric.exact(latency, "s"), "size": Metric.exact(1e5 + draw.number, "B")}
    return Candidate(
        id=draw.number + 1,
        recipe=draw.recipe,
        outcome="measured",
        measurement=Measurement(metrics=metrics),
        accuracy=Accuracy(validation=accuracy),
    )


def study(folder: Path) -> optuna.Study:
    return optuna.load_study(study_name="s", storage=JournalStorage(JournalFileBackend(str(folder / "study.journal"))))


@pytest.mark.parametrize("name", names("search_spaces"))
def test_the_presets_are_good_recipes_of_every_space(name: str) -> None:
    recipes = [draw(space(name), Preset(wishes), anything) for wishes in PRESETS]
    assert len({recipe.key for recipe in recipes}) >= 3
    assert any(recipe.setting("quantization") for recipe in recipes)


def test_the_presets_are_asked_first(tmp_path: Path) -> None:
    wanted = list(dict.fromkeys(draw(space("cnn"), Preset(wishes), anything).key for wishes in PRESETS))
    asked = sampler(tmp_path)
    assert [asked.ask().recipe.key for _ in wanted] == wanted


@pytest.mark.parametrize("kind", ["tpe", "nsga2", "gp", "random"])
def test_every_sampler_proposes_recipes_of_the_space(kind: str, tmp_path: Path) -> None:
    asked = sampler(tmp_path, kind)
    for _ in range(16):
        proposal = asked.ask()
        assert {step.kind for step in proposal.recipe.steps} <= set(space("cnn").kinds())
        asked.tell(proposal, measured(proposal, latency=3e-5 + 1e-6 * proposal.number), LIMITS)
    assert len(study(tmp_path).get_trials(states=[optuna.trial.TrialState.COMPLETE])) == 16


def test_the_budget_and_the_floor_reach_the_study_as_constraints(tmp_path: Path) -> None:
    asked = sampler(tmp_path)
    good, slow, wrong = asked.ask(), asked.ask(), asked.ask()
    asked.tell(good, measured(good), LIMITS)
    asked.tell(slow, measured(slow, latency=3e-4), LIMITS)
    asked.tell(wrong, measured(wrong, accuracy=0.8), LIMITS)
    constraints = [trial.constraints for trial in study(tmp_path).get_trials(states=[optuna.trial.TrialState.COMPLETE])]
    assert constraints[0] == {"accuracy": 0.0, "latency": 0.0}
    assert constraints[1] == {"accuracy": 0.0, "latency": pytest.approx(2.0)}
    assert constraints[2] == {"accuracy": pytest.approx(0.1), "latency": 0.0}


@pytest.mark.parametrize("outcome", ["refused", "failed"])
def test_what_was_not_measured_is_told_as_failed_with_its_reason(outcome: str, tmp_path: Path) -> None:
    asked = sampler(tmp_path)
    proposal = asked.ask()
    asked.tell(
        proposal,
        Candidate(id=1, recipe=proposal.recipe, outcome=outcome, reason="no such layer"),  # type: ignore[arg-type]
        LIMITS,
    )
    [trial] = study(tmp_path).get_trials(states=[optuna.trial.TrialState.FAIL])
    assert trial.user_attrs["reason"] == "no such layer"


def test_a_resumed_study_repeats_what_was_in_work_and_nothing_else(tmp_path: Path) -> None:
    first = sampler(tmp_path)
    done, lost = first.ask(), first.ask()
    first.tell(done, measured(done), LIMITS)
    after = sampler(tmp_path)
    waiting = [after.ask().recipe.key for _ in range(len(PRESETS) - 1)]
    assert lost.recipe.key in waiting
    assert done.recipe.key not in waiting


def test_the_same_seed_proposes_the_same(tmp_path: Path) -> None:
    keys = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        asked = sampler(tmp_path / name, "random", seed=3)
        keys.append([asked.ask().recipe.key for _ in range(14)])
    assert keys[0] == keys[1]


def test_an_empty_recipe_is_the_original() -> None:
    assert Recipe().describe() == "original"


@pytest.mark.timeout(20)
def test_a_lock_that_a_killed_driver_left_holds_nobody(tmp_path: Path) -> None:
    first = sampler(tmp_path)
    first.ask()
    for ending in (".lock", ".lock.rename"):
        Path(f"{tmp_path}/study.journal{ending}").symlink_to(tmp_path / "study.journal")
    assert sampler(tmp_path).ask()
