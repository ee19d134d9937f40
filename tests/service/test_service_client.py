"""``autoshrink submit`` and ``status``, against a real service that is killed while a search is followed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import onnxruntime
import pytest
from data_only import make_data_only
from serving import Serving, serving

PROGRAM = [sys.executable, "-m", "autoshrink"]


@pytest.fixture(scope="module")
def project(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a user has, who shares no disk with the service."""
    folder = tmp_path_factory.mktemp("own") / "digits"
    shutil.copytree(trained, folder)
    make_data_only(folder)
    return folder


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("service")) as service:
        yield service


def own(service: Serving, role: str = "submit") -> Mapping[str, str]:
    return {**os.environ, "AUTOSHRINK_SERVER": service.root, "AUTOSHRINK_TOKEN": service.tokens[role]}


def run(*words: str, cwd: Path, env: Mapping[str, str], code: int = 0) -> str:
    done = subprocess.run(
        [*PROGRAM, *words], cwd=cwd, env=env, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def followed(service: Serving, project: Path) -> tuple[str, str]:
    """A search that was submitted and followed, with the service killed in between: the job, and what was printed."""
    words = ["submit", "target.yaml", "--candidates", "2", "--follow", "--json", "out.json"]
    process = subprocess.Popen(
        [*PROGRAM, *words],
        cwd=project,
        env={**own(service), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    printed = []
    for line in process.stdout:
        printed.append(line)
        if "measured" in line:  # the original
            break
    service.end(signal.SIGKILL)
    service.options = (*service.options, "--port", service.root.rpartition(":")[2])
    service.start()
    rest, _ = process.communicate(timeout=240)
    printed.append(rest)
    assert process.returncode == 0, "".join(printed)
    return printed[0].split()[3].rstrip(";"), "".join(printed)


def test_a_target_is_sent_followed_and_its_front_shown(project: Path, followed: tuple[str, str]) -> None:
    job, printed = followed
    document = json.loads((project / "out.json").read_text())
    assert document["search"] == job
    assert document["front"]
    assert printed.count("the original model") >= 2, "as it is finished, and beside the front"
    assert "The front, the original first" in printed
    assert f"{job} is finished" in printed


def test_jobs_are_listed_and_what_they_found_is_fetched(
    service: Serving, project: Path, followed: tuple[str, str], tmp_path: Path
) -> None:
    job, _ = followed
    assert job in run("status", cwd=tmp_path, env=own(service, "read"))
    shown = run("status", job, "--json", "shown.json", cwd=tmp_path, env=own(service, "read"))
    assert "2 of 2" in shown
    result = json.loads((tmp_path / "shown.json").read_text())["result"]
    run("status", job, "--fetch", "models", cwd=tmp_path, env=own(service))
    files = {file.name: file for file in (tmp_path / "models").iterdir()}
    assert {"recipe.yaml", "figures.json"} < set(files)
    onnxruntime.InferenceSession(next(file for file in files.values() if file.suffix == ".onnx"))
    assert "is not empty" in run("status", job, "--fetch", "models", cwd=tmp_path, env=own(service), code=2)
    wanted = str(result["front"][0])
    run("status", job, "--fetch", "other", "--candidate", wanted, cwd=tmp_path, env=own(service, "read"))
    assert "can be cancelled" in run("status", job, "--cancel", cwd=tmp_path, env=own(service), code=2)


def test_what_is_wrong_is_one_line(service: Serving, project: Path, trained: Path, tmp_path: Path) -> None:
    submit = ["submit", str(project / "target.yaml")]
    env = own(service)
    cases = (
        (submit, {**env, "AUTOSHRINK_SERVER": "http://127.0.0.1:9"}, 4, "does not answer (connection refused)"),
        (submit, {**env, "AUTOSHRINK_SERVER": ""}, 2, "name the service"),
        (submit, {**env, "AUTOSHRINK_TOKEN": "as_x"}, 2, "AUTOSHRINK_TOKEN"),
        (submit, own(service, "read"), 2, "submit"),
        (["submit", str(trained / "target.yaml")], env, 2, "--project submits the target's path instead"),
        (["submit", str(trained / "target.yaml"), "--project"], env, 2, "--projects"),
        ([*submit, "--time", "soon"], env, 2, "--time"),
        (["status", "j000000000000"], env, 2, "j000000000000"),
        (["status", "--cancel"], env, 2, "name the job"),
    )
    for words, settings, code, said in cases:
        printed = run(*words, cwd=tmp_path, env=settings, code=code)
        assert said in printed, (words, printed)
        assert len(printed.strip().splitlines()) == 1, printed
