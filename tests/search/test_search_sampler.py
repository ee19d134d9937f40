"""The sampler: what is asked, what the study learns, and what a resumed study repeats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from autoshrink.core import (
    Accuracy,
    AutoshrinkError,
    Candidate,
    Encoding,
    Limits,
    Metric,
    Recipe,
    Setting,
    Space,
    catalog_folder,
    names,
)
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


def sampler(folder: Path, kind: Any = "tpe", seed: int = 0, presets: Any = PRESETS) -> Sampler:
    return Sampler(
        folder / "study.journal", "s", space("cnn"), anything, OBJECTIVES, kind=kind, seed=seed, presets=presets
    )


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
    for _ in range(13):
        proposal = asked.ask()
        assert {step.kind for step in proposal.recipe.steps} <= set(space("cnn").kinds())
        asked.tell(proposal, measured(proposal, latency=3e-5 + 1e-6 * proposal.number), LIMITS)
    assert len(study(tmp_path).get_trials(states=[optuna.trial.TrialState.COMPLETE])) == 13


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


def stopped(draw: Draw, latency: float | None, accuracy: float | None = None) -> Candidate:
    metrics = {"size": Metric.exact(1e5, "B")} | ({"latency": Metric.exact(latency, "s")} if latency else {})
    measurement = Measurement(metrics=metrics)
    known = Accuracy(validation=accuracy)
    return Candidate(id=1, recipe=draw.recipe, outcome="stopped", measurement=measurement, accuracy=known)


@pytest.mark.parametrize(
    ("latency", "accuracy", "values", "constraints"),
    [
        (3e-4, None, [0.9, 3e-4, 1e5], {"accuracy": 0.0, "latency": pytest.approx(2.0)}),
        (5e-5, 0.7, [0.7, 5e-5, 1e5], {"accuracy": pytest.approx(0.2), "latency": 0.0}),
        (None, 0.7, None, {}),
    ],
    ids=["over budget before any training", "hopeless after a rung", "a cost is not known"],
)
def test_a_stopped_candidate_is_told_with_what_is_known(
    latency: float | None, accuracy: float | None, values: list[float] | None, constraints: object, tmp_path: Path
) -> None:
    asked = sampler(tmp_path)
    proposal = asked.ask()
    asked.tell(proposal, stopped(proposal, latency, accuracy), LIMITS)
    [trial] = study(tmp_path).get_trials()
    assert (trial.values, trial.constraints) == (values, constraints)


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


def test_what_a_killed_driver_told_is_known_and_the_torn_rest_is_cut(tmp_path: Path) -> None:
    first = sampler(tmp_path)
    for _ in range(3):
        proposal = first.ask()
        first.tell(proposal, measured(proposal), LIMITS)
    journal = tmp_path / "study.journal"
    journal.write_bytes(journal.read_bytes()[:-20])
    unfinished = tmp_path / "study.unfinished"
    unfinished.write_text(unfinished.read_text() + '["0123')
    after = sampler(tmp_path)
    known = [trial.user_attrs["key"] for trial in study(tmp_path).get_trials()]
    assert len(known) == 2
    proposal = after.ask()
    assert proposal.recipe.key not in known
    after.tell(proposal, measured(proposal), LIMITS)
    assert [trial.user_attrs["key"] for trial in study(tmp_path).get_trials()] == [*known, proposal.recipe.key]


def test_every_sitting_reads_what_those_before_it_wrote(tmp_path: Path) -> None:
    for _ in range(3):
        asked = sampler(tmp_path)
        asked.tell(proposal := asked.ask(), measured(proposal), LIMITS)
    assert len(study(tmp_path).get_trials()) == 3


DAMAGES = {
    "bytes": b"\x00\xff garbage\n",
    "list": b"[1, 2]\n",
    "torn": b'{"op_code": \n',
    "text": b'"op_code"\n',
    "less": b'{"op_code": 4}\n',
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_record_of_the_study_is_named_and_can_be_taken_out(tmp_path: Path, damage: bytes) -> None:
    tell_three(tmp_path)
    journal = tmp_path / "study.journal"
    whole = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*whole[:2], damage, *whole[3:]]))
    with pytest.raises(AutoshrinkError, match=r"study\.journal:3: damaged record; without that line"):
        sampler(tmp_path)
    journal.write_bytes(b"".join([*whole[:2], *whole[3:]]))
    asked = sampler(tmp_path)
    asked.tell(proposal := asked.ask(), measured(proposal), LIMITS)
    assert len(study(tmp_path).get_trials()) == 3


@pytest.mark.parametrize("damage", [b"?\n", b"", b'{"op_code": 0}\n'], ids=["bytes", "gone", "less"])
def test_without_its_first_record_a_study_is_begun_anew(tmp_path: Path, damage: bytes) -> None:
    tell_three(tmp_path)
    journal = tmp_path / "study.journal"
    journal.write_bytes(damage + journal.read_bytes().split(b"\n", 1)[1])
    with pytest.raises(AutoshrinkError, match=r"study\.journal:1: damaged record; without that file"):
        sampler(tmp_path)
    journal.unlink()
    asked = sampler(tmp_path)
    asked.tell(proposal := asked.ask(), measured(proposal), LIMITS)
    assert len(study(tmp_path).get_trials()) == 1


def test_a_record_that_makes_no_sense_to_optuna_is_no_traceback(tmp_path: Path) -> None:
    tell_three(tmp_path)
    with (tmp_path / "study.journal").open("ab") as file:
        file.write(b'{"op_code": 99}\n')
    with pytest.raises(AutoshrinkError, match=r"study\.journal: damaged: .*without that file"):
        sampler(tmp_path)


def tell_three(folder: Path) -> None:
    asked = sampler(folder)
    for _ in range(3):
        proposal = asked.ask()
        asked.tell(proposal, measured(proposal), LIMITS)


def test_a_dropped_draw_is_not_in_the_study(tmp_path: Path) -> None:
    asked = sampler(tmp_path)
    asked.drop(asked.ask())
    assert study(tmp_path).get_trials() == []


def test_siblings_differ_in_the_format_alone_and_are_asked_once(tmp_path: Path) -> None:
    asked = sampler(tmp_path, presets=[{"channel_pruning.use": (True,), "quantization.format": ("weight_only int4",)}])
    proposal = asked.ask()
    count = asked.siblings(proposal)
    others = [asked.ask().recipe for _ in range(count)]
    formats = {(s.params["scheme"], s.params["weight_bits"]) if s else None for s in map(quantized, others)}
    assert formats == {None, ("static", 8), ("static", 4), ("weight_only", 8)}
    assert {tuple(step for step in recipe.steps if step.kind != "quantization") for recipe in others} == {
        tuple(step for step in proposal.recipe.steps if step.kind != "quantization")
    }
    assert asked.siblings(proposal) == 0


def test_no_more_than_six_siblings_are_asked(tmp_path: Path) -> None:
    formats = {"kind": "quantization", "weight_bits": [32, 16, 8, 4], "scheme": ["static", "dynamic", "weight_only"]}
    wide = Space.model_validate({"steps": [formats]})
    asked = Sampler(tmp_path / "study.journal", "s", wide, anything, OBJECTIVES, kind="tpe", seed=0, presets=[{}])
    assert asked.siblings(asked.ask()) == 6


def test_a_wish_is_asked_before_the_study_suggests_and_only_once(tmp_path: Path) -> None:
    asked = sampler(tmp_path, presets=[{}])
    asked.ask()
    wish = {"low_rank.use": (True,), "low_rank.rank_ratio": 0.25}
    for _ in range(2):
        asked.enqueue(wish)
    asked.enqueue({})
    wanted = draw(space("cnn"), Preset(wish), anything)
    assert [asked.ask().recipe == wanted for _ in range(2)] == [True, False]


def quantized(recipe: Recipe) -> Setting | None:
    return recipe.setting("quantization")


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


def test_what_earlier_searches_found_comes_before_the_presets(tmp_path: Path) -> None:
    asked = sampler(tmp_path)
    known = [draw(space("cnn"), preset := Preset(wishes), anything) for wishes in PRESETS[:4]]
    best = Preset(PRESETS[3])
    recipe = draw(space("cnn"), best, anything)
    assert asked.recall(best.chosen, recipe.key)
    assert not asked.recall(best.chosen, "another space's")
    assert [asked.ask().recipe.key for _ in range(4)] == [recipe.key, *(item.key for item in known[:3])]
    assert not asked.recall(best.chosen, recipe.key), "it was asked"
    assert preset.chosen == best.chosen
