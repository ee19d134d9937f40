"""Nodes of a Ray cluster as devices: simulated ones, each of them real processes of Ray's on this machine."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from onnx import TensorProto, helper, numpy_helper, save
from ray_cluster import Nodes as Simulated
from ray_cluster import cluster

from autoshrink.backends.measuring import fingerprint
from autoshrink.backends.registry import backend
from autoshrink.core import Accuracy, BackendUnavailable, DeviceError, Hardware, Source, SpecError, Target
from autoshrink.devices.local import Local
from autoshrink.devices.node import Node
from autoshrink.search import work
from autoshrink.search.nodes import Nodes, device_resource, place_of
from autoshrink.search.outstanding import Piece
from autoshrink.search.workers import Answer, Pool
from autoshrink.service.measure import measure_file

BOARD = Hardware(name="a board", kind="cpu", backend="onnxruntime", device="ray://board")
HERE = Hardware(name="this machine", kind="cpu", backend="onnxruntime")
TARGET = Target.parse(
    {"model": "m.py:m", "data": "d.py:d", "accuracy": {"floor": 0.5}, "hardware": HERE, "search": {"space": "small"}},
    Source("target.yaml", folder=Path(__file__).parent),  # which is sent to the nodes
)
SLEEPER = """\
import os, time
from pathlib import Path

class Sleeper:
    inputs = [{"name": "x", "dtype": "float32", "shape": [None, 2]}]
    versions = {"modules": "autoshrink" if "autoshrink" in __import__("sys").modules else "the harness alone"}
    def __init__(self, options):
        self.options = options
    def run(self, arrays):
        Path(self.options["mark"], str(os.getpid())).touch()
        time.sleep(self.options["seconds"])
        return [arrays["x"]]

def load(path, options):
    return Sleeper(options)
"""


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulated]:
    with cluster(tmp_path_factory.mktemp("cluster")) as nodes:
        yield nodes


@pytest.fixture(scope="module")
def boards(simulated: Simulated) -> list[tuple[Any, Path]]:
    """Two nodes of one kind, and their folders."""
    return [simulated.join("board", device_resource(HERE)) for _ in range(2)]


@pytest.fixture
def reached(simulated: Simulated, monkeypatch: pytest.MonkeyPatch) -> Simulated:
    """The cluster, found as Ray's own commands find it."""
    monkeypatch.setenv("RAY_ADDRESS", simulated.address)
    return simulated


@pytest.fixture
def model(tmp_path: Path) -> Path:
    weights = numpy_helper.from_array(np.ones((32, 8), np.float32), "w")
    given, taken = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size]) for name, size in (("x", 32), ("y", 8))
    )
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "matmul", [given], [taken], [weights])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


@pytest.fixture
def sleeper(tmp_path: Path) -> dict[str, Any]:
    """A run that shows that it has begun, and takes some time."""
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    (tmp_path / "artifact").mkdir()
    (tmp_path / "artifact" / "model").touch()
    (tmp_path / "begun").mkdir()
    request = {"artifact": ["artifact", "model"], "reference": None, "example": None, "wants": [], "predict": []}
    request |= {"threads": 1, "pin": False, "options": {"mark": str(tmp_path / "begun"), "seconds": 0.5}}
    request["energy"] = {"sensors": [], "card": "", "root": "/sys", "seconds": 0.1}
    return {"adapter": tmp_path / "sleeper.py", "request": request, "files": {"artifact": tmp_path / "artifact"}}


def begun(sleeper: dict[str, Any]) -> list[Path]:
    return list(Path(sleeper["request"]["options"]["mark"]).iterdir())


def test_without_a_node_it_says_how_to_start_one(reached: Simulated, model: Path) -> None:
    with pytest.raises(DeviceError, match=r"no node .* for 'board'; .*ray start --address=\S+ --num-cpus=0 .*board"):
        measure_file(model, BOARD)
    with pytest.raises(DeviceError, match=r"no node .* for 'board'"):
        Pool(TARGET.model_copy(update={"hardware": BOARD}), 1, reached.address)


def test_a_node_with_the_resource_measures_and_no_other(
    reached: Simulated, boards: list[tuple[Any, Path]], model: Path
) -> None:
    measurement, about = measure_file(model, BOARD)
    assert measurement.metrics["latency"].origin == "measured"
    assert measurement.metrics["size"].value == model.stat().st_size
    assert measurement.conditions["device"] == about["device"] == Local().fingerprint()
    assert "onnxruntime" in measurement.conditions["versions"]
    assert [place for _, place in boards if list((place / "autoshrink").glob("harness-*/harness/program.py"))]


def test_several_nodes_with_one_resource_are_a_pool(
    reached: Simulated, boards: list[tuple[Any, Path]], sleeper: dict[str, Any]
) -> None:
    place = Node("board", Nodes(None))
    sleeper["request"]["options"]["seconds"] = 4.0
    threads = [threading.Thread(target=place.run, kwargs={**sleeper, "timeout": 60.0}) for _ in range(2)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 30
    while len(begun(sleeper)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(begun(sleeper)) == 2
    assert all(thread.is_alive() for thread in threads), "side by side"
    for thread in threads:
        thread.join()
    assert all(kept.exists() for _, kept in boards)


def test_what_is_missing_there_is_named(
    reached: Simulated, boards: list[tuple[Any, Path]], sleeper: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "sleeper.py").write_text("import a_runtime_that_is_absent")
    with pytest.raises(BackendUnavailable, match=r"Python on ray://board can't import the adapter.*a_runtime_that"):
        Node("board", Nodes(None)).run(**sleeper, timeout=60.0)


def test_on_a_cluster_a_local_device_is_a_node_and_nothing_else_runs_there(
    reached: Simulated, boards: list[tuple[Any, Path]]
) -> None:
    resource = device_resource(HERE)
    assert isinstance(place_of(HERE), Local)
    assert isinstance(place_of(HERE, reached.address), Node)
    pool = Pool(TARGET, 1, reached.address)
    assert pool.devices == 2

    def where() -> str:
        return str(ray.get_runtime_context().get_node_id())

    task = pool._elsewhere(ray.remote(num_cpus=1)(where))
    ran = set(ray.get([task.remote() for _ in range(4)]))
    assert ran
    assert not ran & set(Nodes(None).members(resource))
    pool.close()


def test_what_another_device_measured_does_not_count(reached: Simulated, model: Path) -> None:
    measurement, about = measure_file(model, HERE)
    answer = Answer("done", work.Measured(measurement, Accuracy(validation=0.9), {}))
    pool = Pool(TARGET, 1, reached.address)
    pool.fingerprint = about["device"]
    ended = Piece(lambda: None, ended=True, answer=answer)
    assert pool.take(ended).kind == "done"
    pool.fingerprint = {**about["device"], "governor": "powersave"}
    taken = pool.take(ended)
    assert (taken.kind, "governor is powersave and" in taken.reason) == ("device", True)
    pool.close()


def test_nodes_of_one_resource_must_be_alike(
    reached: Simulated, boards: list[tuple[Any, Path]], tmp_path: Path
) -> None:
    (tmp_path / "getprop").write_text("#!/bin/sh\necho Pixel 8\n")
    (tmp_path / "getprop").chmod(0o755)
    other, _ = reached.join("board", "phone", PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    phone = Hardware(**{**BOARD.model_dump(), "device": "ray://phone", "expects": {"model": "pixel 8"}})
    runtime = backend("onnxruntime")
    assert fingerprint(runtime, place_of(phone), phone)["device"]["model"] == "Pixel 8"
    with pytest.raises(DeviceError, match=r"are not of one kind: model is (Pixel 8 and nothing|nothing and Pixel 8)"):
        place_of(BOARD).fingerprint()
    reached.kill(other)


def test_a_node_that_dies_takes_its_run_along_and_another_goes_on(reached: Simulated, sleeper: dict[str, Any]) -> None:
    node, _ = reached.join("mortal")
    place = Node("mortal", Nodes(None))
    sleeper["request"]["options"]["seconds"] = 30.0

    deadline = time.monotonic() + 60

    def pull() -> None:
        while not begun(sleeper) and time.monotonic() < deadline:
            time.sleep(0.02)
        reached.kill(node)

    puller = threading.Thread(target=pull)
    puller.start()
    with pytest.raises(DeviceError, match=r"ray://mortal: the node is gone"):
        place.run(**sleeper, timeout=60.0)
    puller.join()
    with pytest.raises(DeviceError, match=r"the node is gone|no node .* for 'mortal'"):
        place.fingerprint()
    reached.join("mortal")
    sleeper["request"]["options"]["seconds"] = 0.0
    answer = place.run(**sleeper, timeout=60.0) / "answer.json"
    assert "the harness alone" in answer.read_text()


def test_a_device_that_is_no_node() -> None:
    with pytest.raises(SpecError, match=r"ray://RESOURCE"):
        Hardware.parse({"name": "x", "kind": "cpu", "backend": "onnxruntime", "device": "ray://"}, Source("p.yaml"))
    with pytest.raises(DeviceError, match=r"reached by way of a Ray cluster"):
        Node("board", None).fingerprint()
