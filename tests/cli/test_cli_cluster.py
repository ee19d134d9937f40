"""A search on a cluster whose nodes share no disk, with its study and its artifacts elsewhere; one node dies in it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial
from postgres_server import postgres
from ray_cluster import cluster
from test_cli_search import autoshrink
from test_cli_ssh import wait_for

from autoshrink.core import SpecError
from autoshrink.search.database import Database

HARDWARE = "{name: a board, kind: cpu, backend: onnxruntime, device: 'ray://board'}"
TRAINERS = 3
# Whoever loads the data writes down which node it is on, and from where it has the code.
TRACE = """
def _trace():
    import json, os, uuid
    from pathlib import Path
    import autoshrink, ray
    node = ray.get_runtime_context().get_node_id() if ray.is_initialized() else ""
    found = {{"file": __file__, "package": autoshrink.__file__, "node": node, "cwd": os.getcwd()}}
    partial = Path({folder!r}, uuid.uuid4().hex)
    partial.write_text(json.dumps(found))
    partial.rename(partial.with_suffix(".json"))

_trace()
"""


@pytest.mark.timeout(600)
def test_a_node_that_dies_in_a_cluster_costs_no_candidate(
    project: Path, edit: Callable[[str, str, str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_health_check_period_ms", "1000")  # a dead node is noticed within seconds
    monkeypatch.delenv("AUTOSHRINK_STUDY", raising=False)
    edit("target.yaml", "hardware: cpu", f"hardware: {HARDWARE}")
    traces = tmp_path / "traces"
    traces.mkdir()
    (project / "data.py").write_text((project / "data.py").read_text() + TRACE.format(folder=str(traces)))
    with postgres() as server, cluster(tmp_path, cpus=0) as nodes:
        nodes.join("board")
        trainers = [nodes.join(f"trainer-{number}")[0] for number in range(TRAINERS)]
        command = ["search", "target.yaml", "--name", "big", "--workers", str(TRAINERS), "--json", "out.json"]
        where = ["--address", nodes.address, "--study", server.url, "--artifacts", f"file://{tmp_path}/kept"]
        driver = subprocess.Popen(
            [sys.executable, "-m", "autoshrink", *command, *where],
            cwd=project,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            wait_for(project, "big", 1, driver)
            for name in ("model.py", "data.py", "weights.safetensors"):  # the nodes have their own
                (project / name).rename(tmp_path / name)
            wait_for(project, "big", 3, driver)
            working = {found["node"] for found in read(traces)}
            nodes.kill(next(node for node in trainers if node.node_id in working))
            study = json.loads((project / ".autoshrink" / "big" / "search.json").read_text())["study_name"]
            with pytest.raises(SpecError, match="is being searched by another process"):
                Database(server.url, study)
            printed, _ = driver.communicate(timeout=300)
        finally:
            driver.kill()
        assert driver.returncode == 0, printed
        storage = RDBStorage(server.url)
        trials = storage.get_all_trials(storage.get_study_id_from_name(study))
        storage.engine.dispose()
    document = json.loads((project / "out.json").read_text())
    _check_front(document, trials)
    _check_nodes(project, read(traces))
    kept = [path.read_bytes() for path in (project / ".autoshrink" / "big").rglob("*") if path.is_file()]
    assert not any(b"hush" in content for content in kept), "the password was written down"
    shutil.rmtree(project / ".autoshrink" / "big" / "artifacts")
    autoshrink("pick", "big", "--to", "picked", cwd=project)
    assert list((project / "picked").glob("*.onnx"))


def read(traces: Path) -> list[dict[str, str]]:
    return [json.loads(path.read_text()) for path in traces.glob("*.json")]


def _check_front(document: dict[str, Any], trials: list[FrozenTrial]) -> None:
    numbers = [candidate["id"] for candidate in document["candidates"]]
    assert numbers == list(range(1 + 6))
    assert document["front"]
    assert document["confirmed"]
    assert not [candidate["reason"] for candidate in document["candidates"] if candidate["state"] == "failed"]
    assert sorted(trial.user_attrs["candidate"] for trial in trials) == numbers[1:]


def _check_nodes(project: Path, traces: list[dict[str, str]]) -> None:
    far = [found for found in traces if not found["file"].startswith(str(project))]
    assert len({found["node"] for found in far}) >= 2, "several nodes took part"
    for found in far:
        sent = Path(found["file"]).parents[1]
        assert Path(found["cwd"]) == sent / "target"
        assert Path(found["package"]) == sent / "autoshrink" / "__init__.py"
    assert len(traces) - len(far) == 1, "the target's folder is read where the search was begun, once"
