"""The report of a real search: its figures are the search's own, and it is written whatever has gone since."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from commands import autoshrink
from headless import opened

from autoshrink.core import Candidate, Recipe, Setting
from autoshrink.search.store import Store
from autoshrink.service.report import write_report
from autoshrink.service.run import load_front

LIMIT = 6_000_000
DATA = re.compile(r'<data value="([^"]+)" data-figure="([^"]+)">')


@pytest.fixture(scope="module")
def reported(
    searched: tuple[Path, dict[str, Any], str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """A copy of the finished search with its report in both forms, and its document."""
    folder = tmp_path_factory.mktemp("reported") / "mine"
    shutil.copytree(searched[0], folder)
    move(folder)
    asked = ("front", "one", "--report", "report.html", "--report", "report.md", "--json")
    return folder, json.loads(autoshrink(*asked, cwd=folder).stdout)


def move(folder: Path) -> None:
    """Let a copied search find its project in the folder that it was copied to."""
    about = folder / ".autoshrink" / "one" / "search.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), "folder": str(folder)}))


def again(folder: Path, *, thorough: bool = True) -> str:
    """Write the report anew in this process."""
    store = Store.open(folder / ".autoshrink", "one")
    write_report(store, *load_front(store), [folder / "again.md"], thorough=thorough)
    return (folder / "again.md").read_text()


@pytest.fixture
def copied(reported: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    shutil.copytree(reported[0], folder)
    move(folder)
    return folder


def look_up(document: dict[str, Any], name: str) -> float:
    """Find a figure of the report in the search's document."""
    first, _, rest = name.partition(".")
    if not first.isdigit():
        found = document[first] if not rest else document[first][rest]
    else:
        [found] = [item for item in document["candidates"] if item["id"] == int(first)]
        group, end = rest.split(".")
        found = (found["metrics"][group] if group in found["metrics"] else found[group])[end]
    return float(found)


def test_every_figure_is_that_of_the_document(reported: tuple[Path, dict[str, Any]]) -> None:
    folder, document = reported
    figures = DATA.findall((folder / "report.html").read_text())
    assert len(figures) > 50
    for value, name in figures:
        assert float(value) == look_up(document, name), name
    for number in document["front"]:
        assert {f"{number}.latency.value", f"{number}.size.value"} <= {name for _, name in figures}


def described(folder: Path) -> int:
    """Tell which candidate the report is about."""
    found = re.search(r"^## The model: candidate (\d+)$", (folder / "report.md").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def test_the_disagreements_are_those_that_the_runtime_gives(reported: tuple[Path, dict[str, Any]]) -> None:
    folder, document = reported
    from sklearn.datasets import load_digits

    digits = load_digits()
    images, labels = (digits.images[1300:] / 16).astype("float32"), digits.target[1300:]

    def answers(number: int) -> np.ndarray:
        [item] = [item for item in document["candidates"] if item["id"] == number]
        session = onnxruntime.InferenceSession(str(folder / item["artifact"]["files"][0]))
        scores: np.ndarray = session.run(None, {session.get_inputs()[0].name: images})[0]
        return scores.argmax(1)

    before, after = answers(0), answers(described(folder))
    text = (folder / "report.md").read_text()
    counted = re.search(r"Of (\d+) answers .*?: (\d+) right before and wrong now, (\d+) wrong before and right", text)
    assert counted is not None
    lost, won = (before == labels) & (after != labels), (before != labels) & (after == labels)
    assert [int(number) for number in counted.groups()] == [len(labels), lost.sum(), won.sum()]
    first = re.search(r"example (\d+), label \*\*(\d)\*\*: original (\d), now \*\*(\d)\*\*", text)
    worst = np.flatnonzero(lost)[:1].tolist() or np.flatnonzero(before != after)[:1].tolist()
    if worst:  # a compressed model that answers like the original on all examples has none to show
        assert first is not None
        index, *said = (int(number) for number in first.groups())
        assert (index, said) == (worst[0], [labels[index], before[index], after[index]])
        shown = (folder / "report.html").read_text().count('<img alt="" src="data:image/png;base64,')
        assert shown == min(int((before != after).sum()), 12)
    for digit in range(10):
        of_it = labels == digit
        right = [int((given[of_it] == digit).sum()) for given in (before, after)]
        row = rf"\| {digit} \| {of_it.sum()} \| [\d.]+ % \({right[0]}\) \| [\d.]+ % \({right[1]}\) \|"
        assert re.search(row, text), row


def test_it_has_what_a_person_asks_for(reported: tuple[Path, dict[str, Any]]) -> None:
    text = (reported[0] / "report.md").read_text()
    for words in (
        "accuracy retention", "compression ratio", "pruning rate", "times the original's speed", "Training time",
        "99 % of the calls took at most", "SQNR", "Linear", "Accuracy by class", "fingerprint is",
        "autoshrink pick one", "autoshrink apply picked/recipe.yaml target.yaml", "energy (for one input)",
    ):  # fmt: skip
        assert words in text, words
    assert (reported[0] / "report-front.png").read_bytes().startswith(b"\x89PNG")
    assert "not kept" not in text


def test_it_opens_from_the_disk_without_a_network(reported: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    page = reported[0] / "report.html"
    assert page.stat().st_size < LIMIT
    document, asked = opened(page, tmp_path)
    assert asked == []
    assert "How to repeat it" in document


def test_the_search_leaves_one_beside_its_front_and_in_mlflow(
    reported: tuple[Path, dict[str, Any]], searched: tuple[Path, dict[str, Any], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    folder, _, printed = searched
    assert "Report: .autoshrink/one/report.html" in printed
    left = folder / ".autoshrink" / "one"
    assert "Compression report" in (left / "report.html").read_text()
    assert "](<front.png>)" in (left / "report.md").read_text()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
    client = MlflowClient()
    [run] = [
        run
        for experiment in client.search_experiments()
        for run in client.search_runs([experiment.experiment_id], "attributes.run_name = 'one'")
    ]
    assert {"report.html", "report.md", "front.png"} <= {item.path for item in client.list_artifacts(run.info.run_id)}


def test_what_was_picked_is_what_it_describes(copied: Path) -> None:
    store = Store.open(copied / ".autoshrink", "one")
    others = [member.id for member in load_front(store)[1].members if member.id not in (0, described(copied))]
    number = others[0] if others else described(copied)
    store.keep_pick(number)
    assert f"candidate {number}**, which was picked" in again(copied)


def test_answers_that_were_not_kept_are_asked_for_again(copied: Path) -> None:
    shutil.rmtree(copied / ".autoshrink" / "one" / "answers")
    quick = again(copied, thorough=False)
    assert "autoshrink front one --report FILE" in quick.replace("\\", "")
    found = re.compile(r"^Of \d+ answers .*$", re.MULTILINE)
    assert found.findall(again(copied)) == found.findall((copied / "report.md").read_text()) != []


def test_a_model_that_is_gone_costs_only_the_parts_that_need_it(copied: Path) -> None:
    (copied / "data.py").unlink()
    text = again(copied).replace("\\", "")
    assert text.count("Not known: the model or its data can't be loaded any more") == 2
    assert "no file 'data.py'" in text
    assert "compression ratio" in text


def test_a_model_that_was_changed_is_not_taken_for_the_one_of_the_search(copied: Path) -> None:
    data = (copied / "data.py").read_text()
    (copied / "data.py").write_text(data.replace("/ 16", "/ 15"))
    assert again(copied).count("are not those of the search any more") == 2


def test_weights_that_another_candidate_was_trained_for_are_said_to_be_its(copied: Path) -> None:
    store, number = Store.open(copied / ".autoshrink", "one"), described(copied)
    store.keep_pick(number)
    own = next(candidate for candidate in store.candidates() if candidate.id == number)
    shared = [step for step in own.recipe.steps if step.kind != "quantization"]
    shared.append(Setting.model_validate({"kind": "quantization", "weight_bits": 4, "scheme": "weight_only"}))
    other = {"id": 99, "recipe": Recipe(steps=tuple(shared)), "outcome": "stopped", "reason": "for a test"}
    store.add(Candidate.model_validate({**other, "seconds": {"train": 1000.0}}))
    assert "training of candidate 99, whose weights it shares | 17 min" in again(copied)
    alone = {**other, "recipe": Recipe(steps=tuple(shared[-1:])), "seconds": {"train": 5000.0}, "id": 100}
    store.add(Candidate.model_validate(alone))
    assert "training of candidate 99, whose weights it shares | 17 min" in again(copied)
