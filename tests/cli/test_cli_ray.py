"""A search whose device is a node of a Ray cluster: the node dies, is started again, and the search goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from onnx import TensorProto, helper, save
from ray_cluster import cluster
from test_cli_search import autoshrink
from test_cli_ssh import wait_for

HARDWARE = "{name: a board, kind: cpu, backend: onnxruntime, device: 'ray://board'}"


def test_a_node_that_dies_stops_the_search_in_order_and_it_goes_on(
    project: Path, edit: Callable[[str, str, str], None], tmp_path: Path
) -> None:
    edit("target.yaml", "hardware: cpu", f"hardware: {HARDWARE}")
    with cluster(tmp_path, cpus=2) as nodes:
        node, _ = nodes.join("board")
        command = [sys.executable, "-m", "autoshrink", "search", "target.yaml", "--name", "far", "--candidates", "3"]
        driver = subprocess.Popen(
            [*command, "--address", nodes.address],
            cwd=project,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        wait_for(project, "far", 1, driver)
        nodes.kill(node)
        printed, _ = driver.communicate(timeout=120)
        assert driver.returncode == 4, printed
        assert "--resume far" in printed
        assert "Traceback" not in printed
        nodes.join("board")
        autoshrink("search", "--resume", "far", "--address", nodes.address, "--json", "out.json", cwd=project)
    document = json.loads((project / "out.json").read_text())
    assert len(document["candidates"]) == 1 + 3
    assert document["front"]
    assert document["confirmed"]
    assert not [c["reason"] for c in document["candidates"] if c["state"] == "failed"]


def test_without_a_cluster_it_says_how_to_begin(project: Path, tmp_path: Path) -> None:
    (project / "board.yaml").write_text(f"{HARDWARE}\n")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "identity", [x], [y])
    save(helper.make_model(graph), project / "model.onnx")
    said = autoshrink("measure", "model.onnx", "--on", "board.yaml", cwd=project, code=4)
    # Another cluster on this machine, of a search say, would be asked, and has no such node.
    assert "ray start --" in said.stdout + said.stderr
