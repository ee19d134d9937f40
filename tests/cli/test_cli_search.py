"""The main job from the command line, as a user runs it: real Ray, real training, a real runtime."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from commands import assert_ended, autoshrink, family_of

STATES = {"front", "dominated", "over_budget", "refused", "stopped", "failed"}


def test_the_document_has_what_the_contract_says(searched: tuple[Path, dict[str, Any], str]) -> None:
    folder, document, _ = searched
    assert document["search"] == "one"
    assert len(document["candidates"]) == 1 + 6
    assert document["front"]
    assert document["confirmed"]
    assert 0 < document["hypervolume"] <= 1
    assert set(document["seconds"]) == {"total", "train", "export", "measure", "engine"}
    for candidate in document["candidates"]:
        assert candidate["state"] in STATES
        assert (candidate["state"] == "front") == (candidate["id"] in document["front"])
        if candidate["state"] in ("front", "dominated"):
            assert {"latency", "size", "memory"} <= set(candidate["metrics"])
            for metric in candidate["metrics"].values():
                assert metric["low"] <= metric["value"] <= metric["high"]
                assert metric["origin"] in ("measured", "modelled")
            size = sum(Path(folder, file).stat().st_size for file in candidate["artifact"]["files"])
            assert candidate["metrics"]["size"]["value"] == candidate["artifact"]["size"] == size
    energy = document["baseline"]["metrics"].get("energy")
    assert energy is None or energy["origin"] in ("measured", "modelled")


def test_the_front_keeps_the_limits_and_nothing_dominates_it(searched: tuple[Path, dict[str, Any], str]) -> None:
    _, document, _ = searched
    front = [item for item in document["candidates"] if item["state"] == "front"]
    for item in front:
        assert item["metrics"]["latency"]["high"] <= document["limits"]["latency"]
        assert item["metrics"]["size"]["high"] <= document["limits"]["size"]
        assert item["accuracy"]["test"] is not None

    def costs(item: dict[str, Any]) -> tuple[float, ...]:
        return (-item["accuracy"]["test"], item["metrics"]["latency"]["value"], item["metrics"]["size"]["value"])

    for one in front:
        for other in front:
            better = all(a <= b for a, b in zip(costs(other), costs(one), strict=True))
            assert not (better and costs(other) != costs(one))


def test_plain_onnxruntime_finds_the_same_accuracy(searched: tuple[Path, dict[str, Any], str]) -> None:
    folder, document, _ = searched
    from sklearn.datasets import load_digits

    digits = load_digits()
    images, labels = (digits.images[1300:] / 16).astype("float32"), digits.target[1300:]
    for item in document["candidates"]:
        if item["state"] == "front":
            session = onnxruntime.InferenceSession(str(folder / item["artifact"]["files"][0]))
            [scores] = session.run(None, {session.get_inputs()[0].name: images})[:1]
            assert np.mean(scores.argmax(1) == labels) == pytest.approx(item["accuracy"]["test"], abs=5e-4)


def test_it_shows_progress_the_front_and_what_to_do_next(searched: tuple[Path, dict[str, Any], str]) -> None:
    folder, document, printed = searched
    assert "6/6" in printed
    assert "original model" in printed
    assert "autoshrink pick one" in printed
    assert "MLflow" in printed
    for name in ("front.png", "front.html"):
        assert (folder / ".autoshrink" / "one" / name).stat().st_size > 10_000
    assert document["seconds"]["engine"] < document["seconds"]["total"]


def test_front_prints_the_same_front_again(searched: tuple[Path, dict[str, Any], str]) -> None:
    folder, document, _ = searched
    again = json.loads(autoshrink("front", "one", "--json", cwd=folder).stdout)
    assert again["front"] == document["front"]
    assert again["hypervolume"] == document["hypervolume"]
    autoshrink("front", "--plot", "mine.png", cwd=folder)
    assert (folder / "mine.png").read_bytes().startswith(b"\x89PNG")


def test_apply_gives_the_same_artifact_and_accuracy(searched: tuple[Path, dict[str, Any], str]) -> None:
    folder, document, _ = searched
    chosen = next(item for item in reversed(document["candidates"]) if item["state"] == "front" and item["id"])
    autoshrink("pick", "one", str(chosen["id"]), "--to", "picked", cwd=folder)
    figures = json.loads((folder / "picked" / "figures.json").read_text())
    assert figures["id"] == chosen["id"]
    done = autoshrink("apply", "picked/recipe.yaml", "target.yaml", "--json", "--to", "again", cwd=folder)
    applied = json.loads(done.stdout)
    assert applied["key"] == chosen["key"]
    assert applied["artifact"]["key"] == chosen["artifact"]["key"]
    assert applied["accuracy"] == chosen["accuracy"]
    assert (folder / "again" / "model.onnx").read_bytes() == (folder / "picked" / "model.onnx").read_bytes()


def test_measure_tells_the_figures_of_one_file(searched: tuple[Path, dict[str, Any], str]) -> None:
    folder, document, _ = searched
    file = document["candidates"][0]["artifact"]["files"][0]
    measured = json.loads(autoshrink("measure", file, "--on", "cpu", "--json", cwd=folder).stdout)
    assert measured["metrics"]["size"]["value"] == document["baseline"]["metrics"]["size"]["value"]
    assert measured["metrics"]["latency"]["unit"] == "s"
    assert measured["hardware"]


def test_a_finished_search_goes_on_with_more_candidates(searched: tuple[Path, dict[str, Any], str]) -> None:
    folder, document, _ = searched
    autoshrink("search", "--resume", "one", "--candidates", "8", "--json", "more.json", cwd=folder)
    more = json.loads((folder / "more.json").read_text())
    assert len(more["candidates"]) == 1 + 8
    keys = [item["key"] for item in more["candidates"]]
    assert len(set(keys)) == len(keys)
    assert keys[: len(document["candidates"])] == [item["key"] for item in document["candidates"]]


def test_mlflow_has_the_search_and_its_models_answer_alike(
    searched: tuple[Path, dict[str, Any], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, document, _ = searched
    import mlflow
    from mlflow.tracking import MlflowClient
    from sklearn.datasets import load_digits

    digits = load_digits()
    images, labels = (digits.images[1300:] / 16).astype("float32"), digits.target[1300:]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")  # for this test, not for those after it
    client = MlflowClient()
    [experiment] = [item for item in client.search_experiments() if item.name == "mine"]
    runs = client.search_runs([experiment.experiment_id], max_results=100)
    children = {run.info.run_id: run for run in runs if run.data.tags.get("mlflow.parentRunId")}
    assert len(children) >= len(document["candidates"]) - 1
    on_front = {key for key, run in children.items() if run.data.tags["pareto"] == "true"}
    assert on_front
    models = [m for m in client.search_logged_models([experiment.experiment_id]) if m.source_run_id in on_front]
    assert {model.source_run_id for model in models} == on_front
    for model in models:
        session = onnxruntime.InferenceSession(mlflow.onnx.load_model(model.model_uri).SerializeToString())
        [scores] = session.run(None, {session.get_inputs()[0].name: images})[:1]
        accuracy = float(np.mean(scores.argmax(1) == labels))
        assert accuracy == pytest.approx(children[model.source_run_id].data.metrics["accuracy.test"], abs=5e-4)


def test_an_impossible_budget_says_which_limit_binds(project: Path, edit: Callable[[str, str, str], None]) -> None:
    edit("target.yaml", "latency: 5 ms", "latency: 1 ns")
    done = autoshrink("search", "target.yaml", "--candidates", "2", cwd=project, code=3)
    assert "the limit that binds: latency 1.00 ns" in done.stdout
    assert "the nearest candidate:" in done.stdout
    assert "it misses:" in done.stdout


def test_a_floor_above_the_original_is_wrong_input(project: Path, edit: Callable[[str, str, str], None]) -> None:
    edit("target.yaml", "{max_drop: 0.05}", "{floor: 0.9999}")
    done = autoshrink("search", "target.yaml", cwd=project, code=2)
    assert "above the original model's own accuracy" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_nothing_finished_is_lost(project: Path) -> None:
    arguments = ["target.yaml", "--name", "cut", "--candidates", "9"]  # enough for three ends before the last
    records = project / ".autoshrink" / "cut" / "candidates.jsonl"
    finished: set[int] = set()
    for count, ending in enumerate((signal.SIGKILL, signal.SIGINT, signal.SIGTERM), start=2):
        command = [sys.executable, "-m", "autoshrink", "search", *arguments]
        driver = subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        begun = time.monotonic()
        while not records.exists() or records.read_bytes().count(b"\n") < max(count, len(finished) + 1):
            assert time.monotonic() - begun < 120, "no candidate finished"
            assert driver.poll() is None, driver.communicate()[0]
            time.sleep(0.05)
        family = family_of(driver.pid)
        os.kill(driver.pid, ending)
        printed, _ = driver.communicate(timeout=60)
        if ending is not signal.SIGKILL:
            assert driver.returncode == 130, printed
            assert "--resume cut" in printed
            assert "Traceback" not in printed
        assert_ended(family)
        before, finished = finished, {json.loads(line)["id"] for line in records.read_text().splitlines()}
        assert finished >= before
        document = json.loads(autoshrink("front", "cut", "--json", cwd=project).stdout)
        assert {item["id"] for item in document["candidates"]} >= finished
        arguments = ["--resume", "cut"]
    autoshrink("search", "--resume", "cut", "--json", "out.json", cwd=project)
    document = json.loads((project / "out.json").read_text())
    assert len(document["candidates"]) == 1 + 9
    keys = [item["key"] for item in document["candidates"]]
    assert len(set(keys)) == len(keys), "no candidate is repeated"
    assert document["confirmed"]


def test_figures_of_another_device_are_never_compared_or_taken_over(searched: tuple[Path, dict[str, Any], str]) -> None:
    folder, _, _ = searched
    file = folder / ".autoshrink" / "one" / "hardware.json"
    about = json.loads(file.read_text())
    records = map(json.loads, (file.parent / "candidates.jsonl").read_text().splitlines())
    taken = [record["measurement"]["conditions"] for record in records if record["outcome"] == "measured"]
    assert taken
    assert all(conditions["device"] == about["device"] for conditions in taken)
    kept = file.read_text()
    about["device"]["governor"], about["key"] = "powersave", "another"
    file.write_text(json.dumps(about))
    refused = autoshrink("search", "--resume", "one", cwd=folder, code=4)
    said = " ".join((refused.stdout + refused.stderr).split())
    assert "no longer the same" in said
    assert "governor is powersave and" in said
    file.write_text(kept)
