"""How the service has searches run: real ones, of which it knows by their locks alone."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from autoshrink.service.server.runner import Processes

JOB = "j0123456789ab"


@pytest.fixture
def project(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "project")
    return tmp_path / "project"


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_exit_code_is_kept_for_whoever_asks_later(tmp_path: Path) -> None:
    runner = Processes(tmp_path / "store", tmp_path / "runs")
    assert runner.look(JOB) is None
    runner.begin(JOB, tmp_path / "nowhere.yaml")
    until(lambda: runner.look(JOB) != "running")
    assert runner.look(JOB) == Processes(tmp_path / "store", tmp_path / "runs").look(JOB) == 2
    assert "nowhere.yaml" in (tmp_path / "runs" / JOB / "log").read_text()


def test_a_search_is_begun_once_and_known_as_long_as_any_of_it_lives(project: Path, tmp_path: Path) -> None:
    runner = Processes(tmp_path / "store", tmp_path / "runs", grace=0.1)
    runner.begin(JOB, project / "target.yaml")
    pid = tmp_path / "runs" / JOB / "pid"
    until(lambda: pid.exists() and pid.read_text().endswith("\n"))
    first = pid.read_text()
    after = Processes(tmp_path / "store", tmp_path / "runs")  # the service was killed and started again
    after.begin(JOB, project / "target.yaml")
    assert pid.read_text() == first
    until((tmp_path / "store" / JOB / "search.json").is_file)
    os.kill(int(first), signal.SIGKILL)  # the shell, and not the search
    assert after.look(JOB) == "running"
    runner.end(JOB)
    assert after.look(JOB) is None, "it was killed, and left no exit code"
    after.begin(JOB, project / "target.yaml")
    assert after.look(JOB) == "running"
    until((tmp_path / "store" / JOB / "hardware.json").exists)  # it works, and can be asked to stop
    after.end(JOB)
    assert after.look(JOB) in (None, 130, 0)
