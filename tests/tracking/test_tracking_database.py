"""MLflow's SQLite file is there as a whole or not at all, whoever is killed while it is made."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from autoshrink.tracking.database import make_whole

OPENS = """
import sys
from autoshrink.tracking.database import make_whole
from autoshrink.tracking.ledger import connect
make_whole(sys.argv[1], lambda place: connect(place).search_experiments())
"""


def opening(uri: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", OPENS, uri], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_a_process_that_is_killed_while_it_makes_the_tables_leaves_no_half_of_them(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    process = opening(uri)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".mlflow.db.*.partial")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    time.sleep(0.3)  # in the middle of a second of migrations
    process.kill()
    process.wait()
    assert not (tmp_path / "mlflow.db").exists()
    both = [opening(uri) for _ in range(2)]  # two searches begin at once
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    assert [found.name for found in MlflowClient(uri).search_experiments()] == ["Default"]


def test_what_a_killed_process_of_the_same_number_left_is_not_gone_on_with(tmp_path: Path) -> None:
    left = tmp_path / f".mlflow.db.{os.getpid()}.partial"
    left.write_bytes(b"half of it")
    make_whole(f"sqlite:///{tmp_path}/mlflow.db", lambda uri: made(uri, b"whole"))
    assert (tmp_path / "mlflow.db").read_bytes() == b"whole"
    assert not left.exists()


def test_a_file_system_without_second_names_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(source: Path, place: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")  # as on FAT

    monkeypatch.setattr(os, "link", link)
    make_whole(f"sqlite:///{tmp_path}/mlflow.db", lambda uri: made(uri, b"whole"))
    assert [file.name for file in tmp_path.iterdir()] == ["mlflow.db"]
    assert (tmp_path / "mlflow.db").read_bytes() == b"whole"


def made(uri: str, content: bytes) -> None:
    with Path(uri.removeprefix("sqlite:///")).open("ab") as file:
        file.write(content)


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"somebody's")
    asked: list[str] = []
    for uri in (f"sqlite:///{tmp_path}/mlflow.db", f"sqlite:///{tmp_path}/nowhere/mlflow.db", "http://127.0.0.1:1"):
        make_whole(uri, asked.append)
    assert asked == []
    assert (tmp_path / "mlflow.db").read_bytes() == b"somebody's"
