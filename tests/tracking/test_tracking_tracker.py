import json
import logging
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import mlflow
import numpy as np
import onnxruntime
import pytest
from mlflow import MlflowClient

from autoshrink.core import Accuracy, AutoshrinkError, Source, SpecError
from autoshrink.tracking.cursor import Cursor
from autoshrink.tracking.register import register
from autoshrink.tracking.tracker import Tracker


def run_search(searched, uri, upto=None):
    """Hand a search's candidates over as the engine does, and finish."""
    tracker = Tracker(searched.folder, searched.target, "digits-1", uri)
    tracker.start({"processor": "test"}, searched.candidates[0], searched.front().limits)
    for candidate in searched.candidates[1:upto]:
        tracker.log(candidate)
    return tracker.finish(searched.front(), searched.files, [], example={"x": np.ones((1, 16), np.float32)})


def read_back(uri, experiment="digits"):
    """The search's run and its children by candidate, through MLflow's own client."""
    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    runs = client.search_runs([found.experiment_id], max_results=1000)
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert len(parents) == 1
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parents[0].info.run_id]
    assert len(children) == len(runs) - 1
    numbers = [int(run.data.tags["autoshrink.candidate"]) for run in children]
    assert len(set(numbers)) == len(numbers), "a candidate was logged twice"
    return client, parents[0], dict(zip(numbers, children, strict=True))


def picked(searched, number, name, alias=None):
    candidate = searched.candidates[number]
    files = searched.files(candidate)
    return register(searched.folder, searched.target, searched.front(), candidate, files, name, alias)


def test_a_search_is_read_back_as_it_was(searched, sqlite, tmp_path, monkeypatch):
    plot = tmp_path / "front.png"
    plot.write_bytes(b"a picture")
    tracker = Tracker(searched.folder, searched.target, "digits-1", sqlite)
    tracker.start({"processor": "test"}, searched.candidates[0], searched.front().limits)
    for candidate in searched.candidates[1:]:
        tracker.log(candidate)
    said = tracker.finish(searched.front(), searched.files, [plot])
    assert "experiment 'digits', run 'digits-1' in sqlite:///" in said

    client, parent, children = read_back(sqlite)
    assert sorted(children) == [0, 1, 2, 3, 4, 5]
    one = children[1]
    assert one.info.run_name == "1 low_rank"
    assert one.data.params == {"low_rank.rank_ratio": "0.0625"}
    latency = searched.candidates[1].metrics["latency"]
    assert one.data.metrics["latency"] == latency.value
    assert one.data.metrics["latency.low"] == latency.low
    assert one.data.metrics["latency.high"] == latency.high
    assert one.data.metrics["accuracy.validation"] == 0.95
    assert one.data.metrics["macs"] == 64
    assert one.data.metrics["seconds.train"] == 1.5
    assert one.data.tags["origin.latency"] == "measured"
    assert one.data.tags["origin.energy"] == "modelled"
    assert one.data.tags["unit.energy"] == "J"
    assert one.data.tags["autoshrink.key"] == searched.candidates[1].key
    states = {number: run.data.tags["autoshrink.state"] for number, run in children.items()}
    assert states == {0: "over_budget", 1: "front", 2: "front", 3: "dominated", 4: "refused", 5: "failed"}
    assert {number for number, run in children.items() if run.data.tags["pareto"] == "true"} == {1, 2}
    assert children[0].data.tags["autoshrink.reason"].startswith("latency 100 µs (up to 110 µs)")
    assert children[4].data.tags["autoshrink.reason"] == "there is no linear layer"
    assert children[5].data.tags["autoshrink.reason"].endswith("ValueError: boom")
    assert [children[n].info.status for n in (1, 4, 5)] == ["FINISHED", "KILLED", "FAILED"]
    assert 1900 <= one.info.end_time - one.info.start_time <= 4000

    assert parent.info.run_name == "digits-1"
    assert parent.info.status == "FINISHED"
    assert parent.data.params["budget.latency"] == "40 us"
    assert parent.data.params["hardware"] == "This machine"
    assert parent.data.params["accuracy.floor"] == "0.9"
    assert parent.data.metrics["hypervolume"] == pytest.approx(searched.front().hypervolume)
    assert parent.data.metrics["front"] == 2
    assert parent.data.metrics["original.latency"] == 100e-6
    assert "2 candidates on the front of 5" in parent.data.tags["mlflow.note.content"]
    artifacts = {item.path for item in client.list_artifacts(parent.info.run_id)}
    assert artifacts == {"front.json", "hardware.json", "target.yaml", "environment.txt", "front.png"}
    monkeypatch.setenv("MLFLOW_TRACKING_URI", sqlite)
    table = client.load_table(parent.info.experiment_id, "front.json", [parent.info.run_id])
    assert list(table["candidate"]) == [2, 1]
    assert list(table["latency"]) == [10e-6, 20e-6]
    assert list(table["energy.origin"]) == ["modelled", "modelled"]
    local = client.download_artifacts(parent.info.run_id, "environment.txt", str(tmp_path))
    assert "mlflow==" in Path(local).read_text()


def outputs_of(model, inputs):
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": inputs})[0]


def test_the_models_of_the_front_are_the_measured_files_and_run(searched, sqlite, monkeypatch):
    run_search(searched, sqlite)
    client, parent, children = read_back(sqlite)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", sqlite)
    models = client.search_logged_models([parent.info.experiment_id])
    assert {model.source_run_id for model in models} == {children[1].info.run_id, children[2].info.run_id}
    assert {model.status.value for model in models} == {"READY"}
    inputs = np.random.default_rng(0).standard_normal((5, 16)).astype(np.float32)
    for number in (1, 2):
        model = next(model for model in models if model.source_run_id == children[number].info.run_id)
        measured = searched.files(searched.candidates[number]) / "net.onnx"
        uri = f"models:/{model.model_id}"
        loaded = mlflow.onnx.load_model(uri)
        np.testing.assert_array_equal(
            outputs_of(loaded.SerializeToString(), inputs), outputs_of(measured.read_bytes(), inputs)
        )
        served = mlflow.pyfunc.load_model(uri)
        np.testing.assert_array_equal(served.predict({"x": inputs})["y"], outputs_of(measured.read_bytes(), inputs))
        info = mlflow.models.get_model_info(uri)
        assert [(spec.name, spec.shape) for spec in info.signature.inputs.inputs] == [("x", (-1, 16))]
        assert info.metadata["recipe"] == searched.candidates[number].recipe.model_dump(mode="json")
        folder = mlflow.artifacts.download_artifacts(uri)
        assert Path(folder, "model.onnx").read_bytes() == measured.read_bytes()
        np.testing.assert_array_equal(served.input_example["x"], np.ones((1, 16)))
        assert {metric.key: metric.value for metric in model.metrics}["latency"] == (
            searched.candidates[number].metrics["latency"].value
        )
        (output,) = client.get_run(children[number].info.run_id).outputs.model_outputs
        assert output.model_id == model.model_id


def test_a_resumed_search_is_one_run_and_nothing_is_repeated(searched, sqlite):
    run_search(searched, sqlite, upto=3)
    before = Cursor.open(searched.folder)
    run_search(searched, sqlite)
    client, parent, children = read_back(sqlite)
    assert sorted(children) == [0, 1, 2, 3, 4, 5]
    for run in children.values():
        for key in run.data.metrics:
            assert len(client.get_metric_history(run.info.run_id, key)) == 1
    assert len(client.search_logged_models([parent.info.experiment_id])) == 2
    assert before.parent == parent.info.run_id


def test_what_arrived_but_was_not_noted_down_is_not_sent_twice(searched, sqlite):
    run_search(searched, sqlite)
    path = searched.folder / "tracking.json"
    noted = json.loads(path.read_text())
    for entry in noted["runs"].values():  # as if the process had been killed before every note of an arrival
        entry.update(run=None, figures="", tags="", model=None)
    path.write_text(json.dumps(noted))
    run_search(searched, sqlite)
    client, parent, children = read_back(sqlite)
    for run in children.values():
        assert {len(client.get_metric_history(run.info.run_id, key)) for key in run.data.metrics} <= {1}
    assert len(client.search_logged_models([parent.info.experiment_id])) == 2
    assert {len(client.get_run(children[n].info.run_id).outputs.model_outputs) for n in (1, 2)} == {1}


def test_a_half_sent_model_is_sent_again(searched, sqlite):
    tracker = Tracker(searched.folder, searched.target, "digits-1", sqlite)
    tracker.start({}, searched.candidates[0], searched.front().limits)
    tracker.log(searched.candidates[1])
    wait_for(lambda: sent(searched, 1))
    client, parent, children = read_back(sqlite)
    client.create_logged_model(parent.info.experiment_id, "half", source_run_id=children[1].info.run_id)
    tracker.finish(searched.front(), searched.files, [])
    models = client.search_logged_models([parent.info.experiment_id])
    assert len(models) == 2
    assert {model.status.value for model in models} == {"READY"}


def test_a_confirmed_candidate_replaces_its_figures(searched, sqlite):
    run_search(searched, sqlite)
    measured = searched.candidates[1]
    searched.candidates[1] = measured.model_copy(update={"accuracy": Accuracy(validation=0.95, test=0.94)})
    run_search(searched, sqlite)
    _, _, children = read_back(sqlite)
    assert children[1].data.metrics["accuracy.test"] == 0.94
    searched.candidates[1] = measured.model_copy(update={"accuracy": Accuracy(validation=0.95, test=0.5)})
    run_search(searched, sqlite)
    _, _, children = read_back(sqlite)
    assert children[1].data.metrics["accuracy.test"] == 0.5
    assert children[1].data.tags["pareto"] == "false"
    assert children[1].data.tags["autoshrink.state"] == "over_budget"


def sent(searched, number):
    return Cursor.open(searched.folder).entry(number).figures


def wait_for(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_candidates_are_seen_while_the_search_runs(searched, sqlite):
    tracker = Tracker(searched.folder, searched.target, "digits-1", sqlite)
    tracker.start({}, searched.candidates[0], searched.front().limits)
    tracker.log(searched.candidates[1])
    wait_for(lambda: sent(searched, 1))
    _, parent, children = read_back(sqlite)
    assert sorted(children) == [0, 1]
    assert parent.info.status == "RUNNING"
    tracker.finish(searched.front(), searched.files, [])


def test_handing_over_takes_no_time(searched, sqlite):
    tracker = Tracker(searched.folder, searched.target, "digits-1", sqlite)
    before = time.perf_counter()
    tracker.start({}, searched.candidates[0], searched.front().limits)
    for _ in range(200):
        tracker.log(searched.candidates[1])
    assert time.perf_counter() - before < 0.5
    tracker.finish(searched.front(), searched.files, [])


def test_nothing_is_printed(searched, sqlite, capfd):
    run_search(searched, sqlite)
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("mlflow").level != logging.CRITICAL


def test_a_lost_store_is_filled_again(searched, sqlite, tmp_path, empty_store):
    run_search(searched, sqlite)
    other = f"sqlite:///{shutil.copyfile(empty_store, tmp_path / 'other.db')}"
    run_search(searched, other)
    assert sorted(read_back(other)[2]) == [0, 1, 2, 3, 4, 5]
    run_search(searched, sqlite)
    client, parent, children = read_back(sqlite)
    assert sorted(children) == [0, 1, 2, 3, 4, 5], "it was there already"
    client.delete_run(parent.info.run_id)
    run_search(searched, sqlite)
    assert json.loads((searched.folder / "tracking.json").read_text())["parent"] != parent.info.run_id


def test_a_run_that_somebody_deleted_is_made_again(searched, sqlite):
    run_search(searched, sqlite)
    client, _, children = read_back(sqlite)
    client.delete_run(children[2].info.run_id)
    assert "run 'digits-1'" in run_search(searched, sqlite)
    assert sorted(read_back(sqlite)[2]) == [0, 1, 2, 3, 4, 5]


def test_a_damaged_cursor_does_not_stop_the_search(searched, sqlite):
    (searched.folder / "tracking.json").write_text("{")
    assert "run 'digits-1'" in run_search(searched, sqlite)
    assert sorted(read_back(sqlite)[2]) == [0, 1, 2, 3, 4, 5]


def test_a_store_that_cannot_be_written_costs_one_line(searched, tmp_path, capfd):
    (tmp_path / "file").touch()
    said = run_search(searched, f"sqlite:///{tmp_path}/file/mlflow.db")
    assert capfd.readouterr() == ("", "")
    assert said.startswith("not complete (")
    assert said.endswith("'autoshrink search --resume digits-1' sends the rest")
    assert "\n" not in said


def test_a_server_that_is_away_for_a_while_gets_everything_once(searched, server):
    tracker = Tracker(searched.folder, searched.target, "digits-1", server.uri)
    tracker.start({"processor": "test"}, searched.candidates[0], searched.front().limits)
    tracker.log(searched.candidates[1])
    wait_for(lambda: sent(searched, 1))
    server.cut()
    tracker.log(searched.candidates[2])
    tracker.log(searched.candidates[3])
    said = tracker.finish(searched.front(), searched.files, [])
    assert said.startswith("not complete (")
    server.mend()
    assert run_search(searched, None).startswith(f"{server.uri}/#/experiments/")
    client, parent, children = read_back(server.uri)
    assert sorted(children) == [0, 1, 2, 3, 4, 5]
    for run in children.values():
        assert {len(client.get_metric_history(run.info.run_id, key)) for key in run.data.metrics} <= {1}
    models = client.search_logged_models([parent.info.experiment_id])
    assert len(models) == 2
    assert picked(searched, 2, "net").uri == "models:/net/1"


def test_a_server_that_is_away_when_a_search_begins_gets_everything_once(searched, server):
    searched.target._source = Source("away-first.yaml")
    server.cut()
    tracker = Tracker(searched.folder, searched.target, "digits-1", server.uri)
    begun = time.monotonic()
    tracker.start({"processor": "test"}, searched.candidates[0], searched.front().limits)
    tracker.log(searched.candidates[1])
    assert time.monotonic() - begun < 5, "it keeps nobody"
    time.sleep(1.5)  # it has been tried
    server.mend()
    for candidate in searched.candidates[2:]:
        tracker.log(candidate)
    assert tracker.finish(searched.front(), searched.files, []).startswith(f"{server.uri}/#/experiments/")
    assert sorted(read_back(server.uri, "away-first")[2]) == [0, 1, 2, 3, 4, 5]


def test_a_server_that_is_away_when_a_search_ends_gets_the_rest_later(searched, server):
    searched.target._source = Source("away-last.yaml")
    tracker = Tracker(searched.folder, searched.target, "digits-1", server.uri)
    tracker.start({"processor": "test"}, searched.candidates[0], searched.front().limits)
    for candidate in searched.candidates[1:]:
        tracker.log(candidate)
    wait_for(lambda: all(sent(searched, number) for number in range(6)))
    server.cut()
    begun = time.monotonic()
    assert tracker.finish(searched.front(), searched.files, []).startswith("not complete (")
    assert time.monotonic() - begun < 30
    server.mend()
    assert run_search(searched, None).startswith(f"{server.uri}/#/experiments/")
    client, parent, children = read_back(server.uri, "away-last")
    assert sorted(children) == [0, 1, 2, 3, 4, 5]
    assert len(client.search_logged_models([parent.info.experiment_id])) == 2


def test_a_clock_that_jumps_back_loses_no_newer_figures(searched, sqlite, monkeypatch):
    run_search(searched, sqlite)
    yesterday = time.time_ns() - 86_400 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: yesterday)
    before = searched.candidates[1]
    searched.candidates[1] = before.model_copy(update={"accuracy": Accuracy(validation=0.95, test=0.91)})
    run_search(searched, sqlite)
    assert read_back(sqlite)[2][1].data.metrics["accuracy.test"] == 0.91


def test_a_database_that_somebody_else_holds_gets_everything_once(searched, sqlite):
    with closing(sqlite3.connect(sqlite.removeprefix("sqlite:///"), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        tracker = Tracker(searched.folder, searched.target, "digits-1", sqlite)
        tracker.start({"processor": "test"}, searched.candidates[0], searched.front().limits)
        for candidate in searched.candidates[1:]:
            tracker.log(candidate)
        time.sleep(1)
        assert not sent(searched, 0)
        other.execute("ROLLBACK")
    assert "experiment 'digits'" in tracker.finish(searched.front(), searched.files, [])
    assert sorted(read_back(sqlite)[2]) == [0, 1, 2, 3, 4, 5]


def test_a_picked_candidate_is_registered_once_with_its_alias(searched, sqlite, monkeypatch):
    run_search(searched, sqlite)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", sqlite)
    dominated = searched.candidates[3]
    made = picked(searched, 2, "net", "production")
    assert (made.version, made.uri) == ("1", "models:/net@production")
    assert made.line == 'mlflow.onnx.load_model("models:/net@production")'
    assert picked(searched, 2, "net").uri == "models:/net/1"
    # One that is not on the front has no model in MLflow yet.
    assert picked(searched, 3, "net", "production").version == "2"
    inputs = np.ones((1, 16), np.float32)
    loaded = mlflow.onnx.load_model("models:/net@production")
    expected = outputs_of((searched.files(dominated) / "net.onnx").read_bytes(), inputs)
    np.testing.assert_array_equal(outputs_of(loaded.SerializeToString(), inputs), expected)
    _, _, children = read_back(sqlite)
    assert children[2].data.tags["autoshrink.state"] == "front"
    assert children[3].data.tags["autoshrink.state"] == "dominated"


def test_a_name_that_mlflow_refuses_is_the_user_s_mistake(searched, sqlite):
    run_search(searched, sqlite)
    with pytest.raises(SpecError, match="MLflow refuses to register 'a/b'"):
        picked(searched, 2, "a/b")
    with pytest.raises(SpecError, match="MLflow refuses"):
        picked(searched, 2, "net", "not an alias!")


def test_a_store_that_is_away_is_named_when_a_candidate_is_registered(searched, tmp_path):
    (tmp_path / "file").touch()
    run_search(searched, f"sqlite:///{tmp_path}/file/mlflow.db")
    with pytest.raises(AutoshrinkError, match="can't be written to"):
        picked(searched, 2, "net")


def test_tracking_imports_no_mlflow_before_it_is_needed():
    code = "import sys, autoshrink.tracking.tracker, autoshrink.tracking.register, autoshrink.tracking.plot\n"
    code += "print(sorted({'mlflow', 'matplotlib', 'plotly', 'torch'} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_files_of_another_runtime_are_kept_as_they_are(searched, sqlite, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", sqlite)
    best = searched.candidates[2]
    (searched.files(best) / "net.onnx").rename(searched.files(best) / "net.tflite")
    other = best.artifact.model_copy(update={"backend": "litert", "files": ("net.tflite",)})
    searched.candidates[2] = best = best.model_copy(update={"artifact": other})
    run_search(searched, sqlite)
    client, parent, children = read_back(sqlite)
    assert len(client.search_logged_models([parent.info.experiment_id])) == 1
    assert [item.path for item in client.list_artifacts(children[2].info.run_id, "artifact")] == ["artifact/net.tflite"]
    assert picked(searched, 2, "net").line == 'mlflow.artifacts.download_artifacts("models:/net/1")'
    folder = Path(mlflow.artifacts.download_artifacts("models:/net/1"))
    assert (folder / "net.tflite").read_bytes() == (searched.files(best) / "net.tflite").read_bytes()
