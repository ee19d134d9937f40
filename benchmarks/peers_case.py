"""What peers.py starts from, an example's model and data, and both searches on it, each in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import venv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from peers_judge import Model

from autoshrink.backends.onnxruntime.export import export_float
from autoshrink.core import Target
from autoshrink.models.splits import Split
from autoshrink.models.workload import Workload, load_workload

__all__ = ["Case", "Search", "environment", "prepare", "run_olive", "run_ours"]

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("olive-ai==0.13.0", "pydantic==2.11.10", "requests", "onnxruntime==1.31.1", "torch==2.13.0", "onnxscript")
"""Olive's environment; the versions of all else are those of constraints.txt. requests is used by Olive undeclared."""
STARTING = 90.0
"""Seconds that Olive gets on top, for its start and its end."""


@dataclass(frozen=True)
class Case:
    """An example's trained model and its data, as everyone gets them."""

    name: str
    folder: Path
    """Holds ``float.onnx``, ``calibration.npz`` and ``validation.npz``, and all that is made from them."""
    target: Target
    workload: Workload

    @property
    def float_model(self) -> Path:
        """The float export."""
        return self.folder / "float.onnx"

    @property
    def calibration(self) -> np.ndarray:
        """The images that give the ranges of activations."""
        return self.workload.calibration.arrays()[0]


@dataclass(frozen=True)
class Search:
    """What a search made, and in which wall time from start to end."""

    models: list[Model]
    seconds: float
    ended: str


def prepare(example: str, folder: Path) -> Case:
    """Copy an example, train its model if its weights aren't there, and write what Olive reads."""
    home = folder / example
    shutil.copytree(ROOT / "examples" / example, home)
    if not (home / "weights.safetensors").exists():
        subprocess.run([sys.executable, "train.py"], cwd=home, check=True, stdout=subprocess.DEVNULL)
    target = Target.read(home / "target.yaml")
    workload = load_workload(target)
    case = Case(example, folder, target, workload)
    graph = ir.to_proto(export_float(workload.model, workload.example, workload.calibration).model)
    del graph.graph.value_info[:]  # ONNX Runtime's tools transpose weights, and fail on the shape that was noted
    onnx.save(graph, case.float_model)
    for name in ("calibration", "validation"):
        _save(getattr(workload, name), folder / f"{name}.npz")
    return case


def run_ours(case: Case, limit: str) -> Search:
    """Run ``autoshrink search`` on the example's target; gives its front."""
    document = case.folder / "ours.json"
    command = [sys.executable, "-m", "autoshrink", "search", str(case.target.path("target.yaml")), "--time", limit]
    command += ["--store", str(case.folder / "store"), "--json", str(document)]
    paths = {"PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": f"sqlite:///{case.folder / 'mlflow.db'}"}
    begun = time.perf_counter()
    ended, log = _run(command, case.folder / "ours.log", {**os.environ, **paths}, case.folder, None)
    seconds = time.perf_counter() - begun
    if not document.exists():
        raise RuntimeError(f"autoshrink search {ended}:\n{_tail(log)}")
    report = json.loads(document.read_text())
    members = [item for item in report["candidates"] if item["id"] in report["front"]]
    models = [Model(f"autoshrink {item['id']}", "ours", Path(item["artifact"]["files"][0])) for item in members]
    return Search(models, seconds, ended)


def run_olive(case: Case, seconds: float, folder: Path) -> Search:
    """Run Olive's search for some seconds; gives every model that it made, each content once.

    When it has tried its whole space, Olive 0.13.0 draws on without end, and is ended.
    """
    python = environment(folder)
    command = [str(python), str(Path(__file__).with_name("peers_olive.py")), str(case.folder), str(round(seconds))]
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "OMP_NUM_THREADS")}
    begun = time.perf_counter()
    clean |= {"OLIVE_DISABLE_TELEMETRY": "1"}
    ended, log = _run(command, case.folder / "olive.log", clean, case.folder, seconds + STARTING)
    spent = time.perf_counter() - begun
    files = sorted((case.folder / "cache").rglob("*.onnx"), key=lambda file: file.stat().st_mtime)
    different = {file.read_bytes(): file for file in reversed(files)}
    if not different:
        raise RuntimeError(f"Olive {ended} and made no model:\n{_tail(log)}")
    found = enumerate(reversed(different.values()), 1)
    return Search([Model(f"Olive {number}", "olive", file) for number, file in found], spent, ended)


def environment(folder: Path) -> Path:
    """Make Olive's virtual environment, if it isn't there already; gives its Python."""
    python, done = folder / "bin" / "python", folder / "installed.txt"
    wanted = "\n".join(PACKAGES)
    if not done.exists() or done.read_text() != wanted:
        print(f"making Olive's environment in {folder} (a few minutes, once)", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "-c", str(ROOT / "constraints.txt"), *PACKAGES]
        ended, log = _run(pip, folder / "pip.log", dict(os.environ), folder, None)
        if ended != "ended by itself":
            raise RuntimeError(f"pip {ended}:\n{_tail(log)}")
        done.write_text(wanted)
    return python


def _run(command: list[str], log: Path, env: dict[str, str], folder: Path, limit: float | None) -> tuple[str, Path]:
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            return "was ended at its limit", log
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    return "ended by itself" if code == 0 else f"ended with {code}", log


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])


def _save(split: Split, path: Path) -> None:
    if split.labels is None:
        raise ValueError("an example without labels can't be given to Olive")
    np.savez(path, images=split.inputs[0].numpy(), labels=split.labels.numpy())
