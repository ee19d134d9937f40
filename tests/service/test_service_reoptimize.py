"""What is known is measured anew on other hardware, without a gradient step; limits, alias and old search stay true."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from in_process import InProcess
from torch.optim.optimizer import register_optimizer_step_post_hook

from autoshrink.core import DeviceError, SpecError, Target
from autoshrink.search import work
from autoshrink.search.lineage import Reoptimization, searches_of
from autoshrink.search.store import Store
from autoshrink.service.reoptimize import Reoptimized, reoptimize
from autoshrink.service.run import Finished, run
from autoshrink.tracking.champions import champions
from autoshrink.tracking.register import register

SPACE = """\
    steps:
      - {kind: channel_pruning, optional: true, ratio: {low: 0.1, high: 0.8}}
      - {kind: distillation, temperature: 3, epochs: 2}
      - {kind: weight_sharing, optional: true, entries: [16, 64]}
      - {kind: quantization, weight_bits: [32, 8], scheme: static, qat_epochs: [1, 0]}
"""
"""With trainings inside the encoding, whose outcome is in the files alone."""


@pytest.fixture(scope="module")
def root(project: Path) -> Path:
    text = (project / "target.yaml").read_text()
    head, rest = text.split("    steps:\n")[0], "  candidates: 10\n  workers: 2\n"
    (project / "target.yaml").write_text(head + SPACE + rest)
    return project / "searches"


@pytest.fixture
def steps() -> Iterator[list[int]]:
    """Counts the gradient steps that any optimizer takes."""
    counted = [0]
    hook = register_optimizer_step_post_hook(lambda *_: counted.__setitem__(0, counted[0] + 1))
    yield counted
    hook.remove()


@pytest.fixture(scope="module")
def uri(project: Path) -> str:
    return f"sqlite:///{project}/mlflow.db"


@pytest.fixture(scope="module")
def first(project: Path, root: Path, uri: str, pools: list[InProcess]) -> Finished:
    """The first search, of which one model is registered under an alias."""
    target = read(project)
    done = run(target, Store.create(root, target), uri=uri)
    assert len(done.front.members) >= 2
    chosen = done.front.members[0]
    files = done.store.artifact_folder(chosen)
    register(done.store.folder, target, done.front, chosen, files, "net", "production", prefer="latency")
    return done


def read(project: Path) -> Target:
    return Target.read(project / "target.yaml")


def keys(done: Finished) -> set[str]:
    return {member.key for member in done.front.members}


def finished(done: Reoptimized) -> Finished:
    assert done.finished is not None
    return done.finished


def test_nothing_changed_measures_the_champion_and_nothing_else(
    project: Path, root: Path, uri: str, first: Finished, pools: list[InProcess]
) -> None:
    before = len(pools)
    done = reoptimize(read(project), root, uri=uri)
    assert done.finished is None
    assert done.document["event"] == "unchanged"
    assert done.document["earlier"] == first.store.name
    assert len(pools) == before
    assert [store.name for store in searches_of(root, read(project))] == [first.store.name]


def test_another_number_of_threads_measures_the_same_files_again(
    project: Path,
    root: Path,
    uri: str,
    first: Finished,
    pools: list[InProcess],
    steps: list[int],
    edit: Callable[[str, str, str], None],
) -> None:
    edit("here.yaml", "threads: 1", "threads: 2")
    done = reoptimize(read(project), root, uri=uri, time=0.0)
    new = finished(done)
    assert steps == [0]
    assert pools[-1].compressed == [], "the files are what an export would write"
    assert done.document["reasons"] == ["profile.threads: 1 → 2"]
    known = {candidate.key: candidate for candidate in first.store.candidates()}
    for candidate in new.store.candidates():
        assert candidate.artifact == known[candidate.key].artifact
        assert candidate.measurement.conditions["threads"] == 2
        assert candidate.accuracy.validation == known[candidate.key].accuracy.validation
    assert len(new.store.candidates()) > 2
    assert new.document["confirmed"]
    for member in new.front.members:
        assert new.front.limits.excess(member) == {}
        assert member.accuracy.test is not None
    assert {item["id"] for item in done.document["front"]["after"]} == {member.id for member in new.front.members}
    assert {item["key"] for item in done.document["front"]["before"]} == keys(first)

    # The alias is on the new search's fastest, as the old one was picked for its latency.
    [moved] = done.document["registered"]
    fastest = new.front.best("latency")
    assert fastest is not None
    assert (moved["before"], moved["version"], moved["candidate"]) == ("1", "2", fastest.id)
    [champion] = champions([store.folder for store in searches_of(root, read(project))], uri)
    assert (champion.alias, champion.version, champion.folder) == ("production", "2", new.store.folder)
    assert reoptimize(read(project), root, uri=uri).finished is None


def test_what_another_runtime_needs_is_exported_with_the_weights_that_are_known(
    project: Path,
    root: Path,
    uri: str,
    first: Finished,
    pools: list[InProcess],
    steps: list[int],
    edit: Callable[[str, str, str], None],
) -> None:
    trained = [c for c in first.store.candidates() if c.recipe.setting("weight_sharing")]
    trained += [
        c for c in first.store.candidates() if (s := c.recipe.setting("quantization")) and s.params.get("qat_epochs")
    ]
    assert trained, "the first search has recipes with a training inside the encoding"
    edit("here.yaml", "threads: 2", "threads: 2\noptions: {graph_optimization: extended}")
    done = reoptimize(read(project), root, uri=uri, time=0.0)
    new = finished(done)
    assert steps == [0]
    recovering = [known for recipe, _, known in pools[-1].compressed if recipe.setting("distillation")]
    assert recovering
    assert all(recovering)
    assert {c.outcome for c in new.store.candidates()} == {"measured"}
    for candidate in new.store.candidates()[1:]:
        sharing, rounding = candidate.recipe.setting("weight_sharing"), candidate.recipe.setting("quantization")
        assert sharing is None or sharing.params["epochs"] == 0
        assert rounding is None or not rounding.params.get("qat_epochs")


def test_a_champion_over_its_limit_is_replaced_on_the_same_hardware(
    project: Path, root: Path, uri: str, first: Finished, edit: Callable[[str, str, str], None]
) -> None:
    [holder] = champions([store.folder for store in searches_of(root, read(project))], uri)
    candidate = Store(holder.folder).candidates()[holder.candidate]
    sizes = [c.metrics["size"].value for c in Store(holder.folder).candidates() if c.outcome == "measured"]
    limit = candidate.metrics["size"].value - 1
    assert min(sizes) < limit, "something smaller is known"
    edit("target.yaml", "size: 1 MB", f"size: {limit:.0f} B")
    done = reoptimize(read(project), root, uri=uri, time=0.0)
    new = finished(done)
    [reason] = done.document["reasons"]
    assert reason.startswith("net@production breaks a limit today: size ")
    assert all(member.metrics["size"].value <= limit for member in new.front.members)
    assert all("measured_by" not in c.measurement.conditions for c in new.store.candidates()), "nothing is taken over"
    [moved] = done.document["registered"]
    assert new.front.members
    assert moved["version"] is not None
    edit("target.yaml", f"size: {limit:.0f} B", "size: 1 MB")


def test_where_nothing_keeps_the_limits_the_alias_stays_and_nobody_searches_every_time(
    project: Path, root: Path, uri: str, first: Finished, edit: Callable[[str, str, str], None]
) -> None:
    edit("here.yaml", "threads: 2", "threads: 1")
    edit("target.yaml", "size: 1 MB", "size: 100 B")
    [before] = champions([store.folder for store in searches_of(root, read(project))], uri)
    done = reoptimize(read(project), root, uri=uri, time=0.0)
    assert finished(done).front.members == []
    [kept] = done.document["registered"]
    assert kept["version"] is None
    [after] = champions([store.folder for store in searches_of(root, read(project))], uri)
    assert after == before
    assert reoptimize(read(project), root, uri=uri).finished is None
    edit("target.yaml", "size: 100 B", "size: 1 MB")


def test_one_that_was_cut_off_is_gone_on_with(
    project: Path,
    root: Path,
    uri: str,
    first: Finished,
    edit: Callable[[str, str, str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    edit("here.yaml", "threads: 1", "threads: 1\npin: false")
    before = len(searches_of(root, read(project)))
    whole, count = InProcess.measure, [0]

    def lost(self: InProcess, *arguments: object, **named: object) -> int:
        """Pull the plug in the middle: a fake, as a device that is gone for good can't be had on this machine."""
        count[0] += 1
        if count[0] > 3:
            raise DeviceError("the device is gone")
        return whole(self, *arguments, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(InProcess, "measure", lost)
        with pytest.raises(DeviceError, match="the device is gone"):
            reoptimize(read(project), root, uri=uri, time=0.0)
    [pending, *_] = searches_of(root, read(project))
    begun = Reoptimization.of(pending)
    assert begun is not None
    assert begun.outcome is None
    halfway = {candidate.id: candidate for candidate in pending.candidates()}
    assert len(halfway) == 3
    done = reoptimize(read(project), root, uri=uri, time=0.0)
    new = finished(done)
    assert new.store.name == pending.name
    assert len(searches_of(root, read(project))) == before + 1
    assert done.document["reasons"]
    found = new.store.candidates()
    assert len({candidate.key for candidate in found}) == len(found) > len(halfway)
    assert {c.id: c.key for c in found if c.id in halfway} == {c.id: c.key for c in halfway.values()}
    assert reoptimize(read(project), root, uri=uri).finished is None


def test_other_data_want_a_search_from_nothing(
    project: Path,
    root: Path,
    uri: str,
    first: Finished,
    edit: Callable[[str, str, str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(work, "_LOADED", {})  # a visit is a process of its own, which loads model and data once
    edit("data.py", "x[:900], y[:900]", "x[:800], y[:800]")
    with pytest.raises(SpecError, match=r"the model or its data are others .*autoshrink search .*target.yaml"):
        reoptimize(read(project), root, uri=uri)
    edit("data.py", "x[:800], y[:800]", "x[:900], y[:900]")


def test_a_target_that_was_never_searched_for_says_so(project: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"target.yaml: no search of it in .* start one with"):
        reoptimize(read(project), tmp_path)
