"""Watching, as an operator does it: a real scheduler, real searches, a real webhook, and hardware that changes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from in_process import InProcess
from typer.testing import CliRunner
from webhooks import Receiver

from autoshrink.cli import app
from autoshrink.core import Target
from autoshrink.search.lineage import Reoptimization, searches_of
from autoshrink.search.store import Store
from autoshrink.service.run import run
from autoshrink.tracking.register import register

pytestmark = pytest.mark.timeout(900)  # several whole searches in processes of their own, on whatever machine this is
PATIENCE = 400.0


def autoshrink(project: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "autoshrink", *arguments]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def eventually(what: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    until = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.1)
    return found


class Watching:
    """A running ``autoshrink watch``."""

    def __init__(self, project: Path, *arguments: str) -> None:
        self._log = project / "watch.log"
        self._from = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "autoshrink", "watch", *arguments], cwd=project, stdout=log, stderr=log
            )

    def said(self) -> str:
        return self._log.read_bytes()[self._from :].decode()

    def visits(self, words: str) -> int:
        return self.said().count(words)

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(200)


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    yield server
    server.close()


@pytest.fixture(scope="module")
def first(project: Path, pools: list[InProcess]) -> Path:
    """A finished search, of which a model is registered as what is in production."""
    text = (project / "target.yaml").read_text()
    (project / "target.yaml").write_text(text.replace("candidates: 6", "candidates: 4"))
    target, uri = Target.read(project / "target.yaml"), f"sqlite:///{project}/mlflow.db"
    done = run(target, Store.create(project / ".autoshrink", target, "one"), uri=uri)
    smallest = done.front.best("size")
    assert smallest is not None
    files = done.store.artifact_folder(smallest)
    register(done.store.folder, target, done.front, smallest, files, "net", "production", prefer="size")
    return project


def production(project: Path) -> str:
    import mlflow

    version = mlflow.MlflowClient(f"sqlite:///{project}/mlflow.db").get_model_version_by_alias("net", "production")
    return str(version.version)


def searches(project: Path) -> list[Store]:
    return searches_of(project / ".autoshrink", Target.read(project / "target.yaml"))


def test_a_change_is_found_once_and_nothing_is_done_without(
    first: Path, receiver: Receiver, edit: Callable[[str, str, str], None]
) -> None:
    watching = Watching(first, "target.yaml", "--every", "2s", "--webhook", receiver.url)
    try:
        eventually(lambda: watching.visits("nothing has changed since one"))
        assert receiver.posted == []
        assert production(first) == "1"
        edit("here.yaml", "threads: 1", "threads: 2")
        eventually(lambda: watching.visits("searched again as"))
        eventually(lambda: watching.visits("nothing has changed since mine-1"))
    finally:
        code = watching.end()
    assert code == 0
    assert "ended; the schedule is kept" in watching.said()
    assert "Traceback" not in watching.said()
    assert watching.visits("searched again as") == 1
    assert "net@production is version 2 now" in watching.said()
    assert production(first) == "2"
    assert [store.name for store in searches(first)] == ["mine-1", "one"]
    [event] = receiver.posted
    assert (event["event"], event["earlier"], event["search"]) == ("reoptimized", "one", "mine-1")
    assert event["reasons"] == ["profile.threads: 1 → 2"]
    assert event["front"]["after"]
    assert event["registered"][0]["version"] == "2"
    tracked(first, "mine-1", event)


def tracked(project: Path, name: str, event: dict[str, Any]) -> None:
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{project}/mlflow.db")
    [experiment] = [item for item in client.search_experiments() if item.name == "mine"]
    [run] = client.search_runs([experiment.experiment_id], f"attributes.run_name = '{name}'")
    assert run.data.tags["autoshrink.event"] == "reoptimized"
    assert run.data.tags["autoshrink.reasons"] == "; ".join(event["reasons"])
    kept = client.download_artifacts(run.info.run_id, "reoptimization.json", str(project))
    assert json.loads(Path(kept).read_text())["id"] == event["id"]


def test_a_restart_in_the_middle_loses_nothing_and_repeats_nothing(first: Path, receiver: Receiver) -> None:
    before, told, version = len(searches(first)), len(receiver.posted), int(production(first))
    (first / "here.yaml").write_text("name: here\nkind: cpu\nbackend: onnxruntime\nthreads: 1\npin: false\n")
    # Another schedule than the one that is kept is due at once.
    watching = Watching(first, "target.yaml", "--every", "1h", "--webhook", receiver.url)
    pending = eventually(lambda: next((store for store in searches(first)[: len(searches(first)) - before]), None))
    eventually(lambda: len(pending.candidates()) > 1)
    kill(watching)
    halfway = pending.candidates()
    assert Reoptimization.of(pending).outcome is None
    assert len(receiver.posted) == told
    again = Watching(first, "--webhook", receiver.url)  # it knows its targets, and waits for no hour
    try:
        eventually(lambda: again.visits(f"searched again as {pending.name}"))
    finally:
        assert again.end(signal.SIGINT) == 130
    assert len(searches(first)) == before + 1
    found = pending.candidates()
    assert [c.key for c in found[: len(halfway)]] == [c.key for c in halfway]
    assert len({c.key for c in found}) == len(found)
    assert len(receiver.posted) == told + 1
    assert receiver.posted[-1]["search"] == pending.name
    assert int(production(first)) == version + 1
    assert f"nothing has changed since {pending.name}" in autoshrink(first, "watch", "target.yaml", "--once")


def kill(watching: Watching) -> None:
    """Kill the watch with the visit that it began, as a machine that is switched off ends both."""
    visits = psutil.Process(watching.process.pid).children()
    assert visits
    watching.process.kill()
    for child in visits:
        child.kill()
    watching.process.wait()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name a target's file to watch"),
        (["--once"], "name a target's file"),
        (["target.yaml", "--every", "often"], "--every"),
        (["target.yaml", "--every", "6h", "--cron", "0 3 * * *"], "either --every or --cron"),
        (["target.yaml", "--cron", "whenever"], "--cron"),
        (["nowhere.yaml", "--once"], "nowhere.yaml"),
        (["target.yaml", "--once", "--webhook", "file:///etc/passwd"], "--webhook"),
    ],
)
def test_a_mistake_is_named(
    first: Path, tmp_path: Path, arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(first)
    done = CliRunner().invoke(app, ["watch", *arguments, "--store", str(tmp_path)])
    assert done.exit_code == 2
    assert words in " ".join(done.stderr.split())
