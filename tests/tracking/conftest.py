"""A small finished search with real ONNX files, and real MLflow stores to write it to."""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from autoshrink.core import Accuracy, Artifact, Candidate, Limits, Measurement, Metric, Recipe, Source, Target, judge

TARGET = {
    "model": "model.py:build",
    "data": "data.py:splits",
    "accuracy": {"floor": 0.9},
    "hardware": {"name": "This machine", "kind": "cpu", "backend": "onnxruntime"},
    "budget": {"latency": "40 us", "size": "100 kB"},
    "search": {"space": {"steps": [{"kind": "low_rank", "rank_ratio": {"low": 0.1, "high": 0.9}}]}},
}


def write_onnx(path: Path, seed: int) -> None:
    weight = np.random.default_rng(seed).standard_normal((16, 4)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save_model(model, path)


@dataclass
class Searched:
    """A search as it grows: its candidates, and where their files are."""

    folder: Path
    target: Target = field(default_factory=lambda: Target.parse(TARGET, Source("digits.yaml")))
    candidates: list[Candidate] = field(default_factory=list)

    def add(self, latency=20e-6, accuracy=0.95, outcome="measured", reason="", test=None) -> Candidate:
        number = len(self.candidates)
        steps = [{"kind": "low_rank", "rank_ratio": number / 16}] if number else []
        recipe = Recipe.parse({"steps": steps}, Source("r"))
        if outcome != "measured":
            self.candidates.append(Candidate(id=number, recipe=recipe, outcome=outcome, reason=reason))
            return self.candidates[-1]
        key = f"art{number}"
        (self.folder / "artifacts" / key).mkdir(parents=True)
        file = self.folder / "artifacts" / key / "net.onnx"
        write_onnx(file, number)
        size = file.stat().st_size
        figures = {
            "latency": Metric(value=latency, unit="s", low=latency * 0.9, high=latency * 1.1, origin="measured"),
            "size": Metric.exact(size, "B"),
            "energy": Metric(value=6 * latency, unit="J", low=3 * latency, high=9 * latency, origin="modelled"),
        }
        candidate = Candidate(
            id=number,
            recipe=recipe,
            outcome="measured",
            artifact=Artifact(key=key, backend="onnxruntime", files=("net.onnx",), size=size),
            measurement=Measurement(metrics=figures),
            accuracy=Accuracy(validation=accuracy, test=test),
            facts={"macs": 64.0},
            seconds={"train": 1.5, "measure": 0.5},
        )
        self.candidates.append(candidate)
        return candidate

    def files(self, candidate: Candidate) -> Path:
        assert candidate.artifact is not None
        return self.folder / "artifacts" / candidate.artifact.key

    def front(self):
        baseline = {name: metric.value for name, metric in self.candidates[0].metrics.items()}
        return judge(
            self.candidates, self.target.metrics, Limits(floor=0.9, costs=self.target.budget.limits, baseline=baseline)
        )


@pytest.fixture
def searched(tmp_path) -> Searched:
    folder = tmp_path / ".autoshrink" / "digits-1"
    folder.mkdir(parents=True)
    search = Searched(folder)
    search.add(latency=100e-6, accuracy=0.99)
    search.add(latency=20e-6, accuracy=0.95)
    search.add(latency=10e-6, accuracy=0.93)
    search.add(latency=30e-6, accuracy=0.92)
    search.add(outcome="refused", reason="there is no linear layer")
    search.add(outcome="failed", reason="Traceback …\nValueError: boom")
    return search


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory) -> Path:
    """An MLflow database without anything in it: making one takes two seconds."""
    import mlflow

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def sqlite(tmp_path, monkeypatch, empty_store) -> str:
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(empty_store, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


class Line:
    """The way to a server, which can be cut and mended: a server takes many seconds to start again."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._server: socketserver.ThreadingTCPServer | None = None
        self._open: set[socket.socket] = set()
        self.mend(0)

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def cut(self) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()
        self._server = None
        for end in list(self._open):
            end.close()

    def mend(self, port: int | None = None) -> None:
        line = self

        class Forward(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with socket.create_connection(("127.0.0.1", line._to)) as far:
                    line._open |= {self.request, far}
                    ends = {self.request: far, far: self.request}
                    try:
                        while True:
                            for end in select.select(list(ends), [], [])[0]:
                                data = end.recv(65536)
                                if not data:
                                    return
                                ends[end].sendall(data)
                    except (OSError, ValueError):  # the line was cut
                        return
                    finally:
                        line._open -= {self.request, far}

        socketserver.ThreadingTCPServer.allow_reuse_address = True
        socketserver.ThreadingTCPServer.daemon_threads = True
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", self._port if port is None else port), Forward)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()


def _answers(uri: str) -> bool:
    try:
        with urllib.request.urlopen(f"{uri}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory, empty_store):
    """A real ``mlflow server`` on this machine: its port."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copyfile(empty_store, folder / "server.db")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/server.db",
        "--artifacts-destination",
        str(folder / "served"),
    ]
    alone = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    alone["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # seven more processes
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True, env=alone)
    deadline = time.monotonic() + 120
    while not _answers(f"http://127.0.0.1:{port}"):
        assert process.poll() is None, (folder / "server.log").read_text()
        assert time.monotonic() < deadline, "mlflow server did not come up"
        time.sleep(0.2)
    yield port
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture
def server(mlflow_server, monkeypatch):
    """The way to a real MLflow server."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    line = Line(mlflow_server)
    yield line
    line.cut()
