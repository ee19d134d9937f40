"""The command line of the view, and Optuna's own dashboard."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest
from optuna_dashboard import wsgi
from ui_looking import Searched
from werkzeug.test import Client


@pytest.mark.parametrize(
    ("options", "env", "told"),
    [
        (["--store", "http://tracking.example:5000"], {}, "mlflow server --app-name autoshrink"),
        ([], {"MLFLOW_TRACKING_URI": "http://tracking.example:5000"}, "http://tracking.example:5000/autoshrink/"),
        (["--store", ".autoshrink"], {}, "is no database of MLflow's"),
        (["--store", "sqlite:///nothing.db"], {}, "no nothing.db here: run a search first"),
        ([], {}, "no mlflow.db here: run a search first"),
    ],
)
def test_a_store_that_can_t_be_served_is_one_clear_line(options, env, told, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    done = subprocess.run([sys.executable, "-m", "autoshrink", "ui", *options], capture_output=True, text=True)
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_port_that_is_taken_is_one_clear_line(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlflow.db").touch()
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [sys.executable, "-m", "autoshrink", "ui", "--port", str(taken.getsockname()[1])]
        done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "Address already in use" in done.stderr


def test_optuna_s_dashboard_reads_the_search_s_storage(searched: Searched) -> None:
    import optuna
    from optuna.storages.journal import JournalFileBackend

    storage = optuna.storages.JournalStorage(
        JournalFileBackend(str(searched.folder / ".autoshrink" / "one" / "study.journal"))
    )
    client = Client(wsgi(storage))
    listed = client.get("/api/studies").get_json()["study_summaries"]
    assert [study["study_name"] for study in listed] == ["one"]
    shown = client.get(f"/api/studies/{listed[0]['study_id']}").get_json()
    assert len(shown["trials"]) >= 6
    assert {trial["state"] for trial in shown["trials"]} <= {"Complete", "Fail"}
    assert any("channel_pruning.ratio" in {param["name"] for param in trial["params"]} for trial in shown["trials"])
