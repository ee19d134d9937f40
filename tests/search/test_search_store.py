"""The store: what was finished survives torn writes, and one driver works on a search."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from autoshrink.core import Accuracy, AutoshrinkError, Candidate, Metric, Recipe, Setting, SpecError, Target
from autoshrink.core.measurement import Artifact, Measurement
from autoshrink.search.store import Store, latest, store_root

TARGET = """\
model: model.py:build
data: data.py:splits
accuracy: {max_drop: 0.01}
hardware: cpu
budget: {latency: 40 us}
search: {space: small, candidates: 3}
"""


@pytest.fixture
def target(tmp_path: Path) -> Target:
    path = tmp_path / "here" / "mine.yaml"
    path.parent.mkdir()
    path.write_text(TARGET)
    return Target.read(path)


def candidate(number: int) -> Candidate:
    return Candidate(
        id=number,
        recipe=Recipe(steps=(Setting.model_validate({"kind": "low_rank", "rank_ratio": 0.1 + number / 100}),)),
        outcome="measured",
        artifact=Artifact(key=f"k{number}", backend="onnxruntime", files=("model.onnx",), size=3),
        measurement=Measurement(metrics={"latency": Metric.exact(1e-5 * number, "s")}),
        accuracy=Accuracy(validation=0.9),
    )


def test_names_carry_a_running_number(tmp_path: Path, target: Target) -> None:
    root = tmp_path / "store"
    assert [Store.create(root, target).name for _ in range(3)] == ["mine-1", "mine-2", "mine-3"]
    assert latest(root) == "mine-3"
    assert Store.open(root).name == "mine-3"


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "é" * 200])
def test_a_name_that_is_no_folder_name_is_refused(tmp_path: Path, target: Target, name: str) -> None:
    with pytest.raises(SpecError, match="--name"):
        Store.create(tmp_path, target, name)


def test_a_name_that_is_taken_is_refused(tmp_path: Path, target: Target) -> None:
    Store.create(tmp_path / "s", target, "once")
    with pytest.raises(SpecError, match="--resume once"):
        Store.create(tmp_path / "s", target, "once")


def test_an_unknown_search_names_the_nearest(tmp_path: Path, target: Target) -> None:
    Store.create(tmp_path / "s", target)
    with pytest.raises(SpecError, match="did you mean 'mine-1'"):
        Store.open(tmp_path / "s", "mine-2")


def test_the_target_comes_back_with_its_own_folder(tmp_path: Path, target: Target) -> None:
    again = Store.create(tmp_path / "s", target).target()
    assert again == target
    assert again.name == target.name == "mine"
    assert again.path("model.py") == target.path("model.py")


def test_candidates_come_back_and_the_last_record_counts(tmp_path: Path, target: Target) -> None:
    store = Store.create(tmp_path / "s", target)
    for number in (0, 2, 1):
        store.add(candidate(number))
    confirmed = candidate(1).model_copy(update={"accuracy": Accuracy(validation=0.9, test=0.8)})
    store.add(confirmed)
    assert store.candidates() == [candidate(0), confirmed, candidate(2)]


def test_one_candidate_is_read_by_its_id_and_the_last_record_counts(tmp_path: Path, target: Target) -> None:
    store = Store.create(tmp_path / "s", target)
    for number in (0, 2, 1):
        store.add(candidate(number))
    confirmed = candidate(2).model_copy(update={"accuracy": Accuracy(validation=0.9, test=0.8)})
    store.add(confirmed)
    later = Store(store.folder)
    assert [record.id for record in later.records()] == [0, 2, 1, 2]
    for opened in (store, later):
        assert [opened.candidate(number) for number in (0, 1, 2)] == [candidate(0), candidate(1), confirmed]
        with pytest.raises(KeyError):
            opened.candidate(3)


@pytest.mark.parametrize("cut", [1, 10, 200])
def test_a_torn_last_line_is_dropped_and_written_over(tmp_path: Path, target: Target, cut: int) -> None:
    store = Store.create(tmp_path / "s", target)
    store.add(candidate(0))
    store.add(candidate(1))
    records = store.folder / "candidates.jsonl"
    records.write_bytes(records.read_bytes()[:-cut])
    assert [item.id for item in store.candidates()] == [0]
    store.add(candidate(2))
    assert [item.id for item in store.candidates()] == [0, 2]
    assert [store.candidate(number) for number in (0, 2)] == [candidate(0), candidate(2)]


def test_a_damaged_record_in_the_middle_is_an_error_that_names_the_line(tmp_path: Path, target: Target) -> None:
    store = Store.create(tmp_path / "s", target)
    records = store.folder / "candidates.jsonl"
    records.write_text('{"id": 0}\n')
    store.add(candidate(1))
    with pytest.raises(AutoshrinkError, match=r"candidates\.jsonl:1: damaged"):
        store.candidates()


def test_equal_artifacts_are_kept_once(tmp_path: Path, target: Target) -> None:
    store = Store.create(tmp_path / "s", target)
    for _ in range(2):
        store.keep_artifact("k1", {"model.onnx": b"abc"})
    assert [path.name for path in store.artifacts.iterdir()] == ["k1"]
    assert (store.artifacts / "k1" / "model.onnx").read_bytes() == b"abc"


def test_a_damaged_artifact_is_refused_or_taken_from_another_search(tmp_path: Path, target: Target) -> None:
    files = {"model.onnx": b"what was measured"}
    key = hashlib.sha256(files["model.onnx"]).hexdigest()[:16]
    artifact = Artifact(key=key, backend="onnxruntime", files=tuple(files), size=17)
    candidate = Candidate(id=1, recipe=Recipe(steps=()), outcome="measured", artifact=artifact)
    first, second = (Store.create(tmp_path, target) for _ in range(2))
    for store in (first, second):
        store.keep_artifact(key, files)
    file = first.artifacts / key / "model.onnx"
    for damaged in (b"what was", b"what was meazured", b""):
        file.write_bytes(damaged)
        with pytest.raises(AutoshrinkError, match=f"{key}/: damaged"):
            first.artifact_folder(candidate)
        assert first.find_artifact(artifact) == files
    assert second.artifact_folder(candidate) == second.artifacts / key


def test_a_second_driver_is_refused_and_a_dead_one_holds_nothing(tmp_path: Path, target: Target) -> None:
    store = Store.create(tmp_path / "s", target)
    hold = (
        "import sys, time; from pathlib import Path; from autoshrink.search.store import Store\n"
        "with Store(Path(sys.argv[1])).locked(): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", hold, str(store.folder)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(SpecError, match=f"being run by process {other.pid}"), store.locked():
            pass
        other.kill()
    with store.locked():
        assert (store.folder / "lock").read_text() == str(os.getpid())


def test_small_files_are_replaced_in_one_step(tmp_path: Path, target: Target) -> None:
    store = Store.create(tmp_path / "s", target)
    store.write_json("a.json", {"x": 1})
    store.write_json("a.json", {"x": 2})
    assert store.read_json("a.json") == {"x": 2}
    assert json.loads((store.folder / "a.json").read_text()) == {"x": 2}
    assert not list(store.folder.glob("*.partial"))
    assert store.read_json("b.json") is None


def test_the_store_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOSHRINK_STORE", str(tmp_path / "x"))
    assert store_root() == tmp_path / "x"
    assert store_root(f"file://{tmp_path}/y%20z") == tmp_path / "y z"
    with pytest.raises(SpecError, match="only a folder"):
        store_root("postgresql://localhost/x")
    (tmp_path / "file").touch()
    with pytest.raises(SpecError, match="not a folder"):
        store_root(str(tmp_path / "file"))


def test_a_hostile_file_name_is_a_name_like_any_other(tmp_path: Path) -> None:
    folder = tmp_path / "in\n[red]\x1b[31m\udcff"
    folder.mkdir()
    (folder / "..x\n\x1b[2J[red]\udcfe.yaml").write_text(TARGET)
    target = Target.read(next(folder.iterdir()))
    assert target.name.isprintable()
    store = Store.create(tmp_path / "s", target)
    assert store.name == "x---2J-red-1"
    again = Store.open(tmp_path / "s").target()
    assert (again, again.source.folder, again.name) == (target, target.source.folder, target.name)


@pytest.mark.parametrize("name", ["../elsewhere", "/tmp/elsewhere", "..", "mine-1/../../elsewhere", "é" * 200])
def test_a_search_is_opened_only_inside_the_store(tmp_path: Path, target: Target, name: str) -> None:
    Store.create(tmp_path / "s", target, "mine-1")
    Store.create(tmp_path, target, "elsewhere")
    with pytest.raises(SpecError, match="no search"):
        Store.open(tmp_path / "s", name)


@pytest.mark.parametrize("bad", ["../../secret", "/etc/passwd", "a/b", "..", "", "a\\b", "a\0b", "é" * 200])
@pytest.mark.parametrize("where", ["key", "files"])
def test_a_record_can_t_lead_out_of_its_folder(tmp_path: Path, target: Target, bad: str, where: str) -> None:
    store = Store.create(tmp_path, target)
    record = candidate(1).model_dump(mode="json")
    record["artifact"][where] = bad if where == "key" else [bad]
    (store.folder / "candidates.jsonl").write_text(json.dumps(record) + "\n")
    with pytest.raises(AutoshrinkError, match="damaged record"):
        store.candidates()


@pytest.mark.parametrize("content", [b"", b"[", b"[]", b"3", b'{"file": 3}', b"\xff", b"[" * 100_000])
def test_a_damaged_file_of_a_search_says_so(tmp_path: Path, target: Target, content: bytes) -> None:
    store = Store.create(tmp_path, target)
    for name, read in (("search.json", store.target), ("picked.json", store.picked)):
        (store.folder / name).write_bytes(content)
        with pytest.raises(AutoshrinkError, match=rf"{name}: damaged"):
            read()
