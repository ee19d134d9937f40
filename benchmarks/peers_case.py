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
from peers_judge import OBJECTIVES, Model, nondominated

from autoshrink.core import Budget, Target
from autoshrink.models.onnx.export import export_float
from autoshrink.models.splits import Split
from autoshrink.models.workload import Workload, load_workload

__all__ = ["Case", "Search", "environment", "prepare", "run_olive", "run_ours"]

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("olive-ai==0.13.0", "pydantic==2.11.10", "requests", "onnxruntime==1.31.1", "torch==2.13.0", "onnxscript")
"""Olive's environment; the versions of all else are those of constraints.txt. requests is used by Olive undeclared."""
TARGET = "peers.yaml"
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
    """Copy an example, train its model if its weights aren't there, and write what everyone reads.

    The target's budget is left out, as Olive can't be told one: both look for accuracy, latency and size.
    """
    home = folder / example
    shutil.copytree(ROOT / "examples" / example, home)
    if not (home / "weights.safetensors").exists():
        subprocess.run([sys.executable, "train.py"], cwd=home, check=True, stdout=subprocess.DEVNULL)
    target = Target.read(home / "target.yaml").model_copy(update={"budget": Budget(), "objectives": OBJECTIVES})
    (home / TARGET).write_text(target.to_yaml(), encoding="utf-8")
    target = Target.read(home / TARGET)
    workload = load_workload(target)
    case = Case(example, folder, target, workload)
    graph = ir.to_proto(export_float(workload.model, workload.example, workload.calibration).model)
    del graph.graph.value_info[:]  # ONNX Runtime's tools transpose weights, and fail on the shape that was noted
    onnx.save(graph, case.float_model)
    for name in ("calibration", "validation"):
        _save(getattr(workload, name), folder / f"{name}.npz")
    return case


def run_ours(case: Case, limit: str) -> Search:
    """Run ``autoshrink search`` on the example's target; gives every candidate that reached the floor."""
    document = case.folder / "ours.json"
    command = [sys.executable, "-m", "autoshrink", "search", str(case.target.path(TARGET)), "--time", limit]
    command += ["--store", str(case.folder / "store"), "--json", str(document)]
    paths = {"PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": f"sqlite:///{case.folder / 'mlflow.db'}"}
    begun = time.perf_counter()
    ended, log = _run(command, case.folder / "ours.log", {**os.environ, **paths}, case.folder, None)
    seconds = time.perf_counter() - begun
    if not document.exists():
        raise RuntimeError(f"autoshrink search {ended}:\n{_tail(log)}")
    report = json.loads(document.read_text())
    models = [
        Model(f"autoshrink {item['id']}", "ours", Path(item["artifact"]["files"][0]), item["id"] in report["front"])
        for item in report["candidates"]
        if item["state"] in ("front", "dominated")
    ]
    return Search(_different(models), seconds, ended)


def run_olive(case: Case, seconds: float, folder: Path) -> Search:
    """Run Olive's search for some seconds; gives every model that it made and judged.

    When it has tried its whole space, Olive 0.13.0 draws on without end, and is ended.
    """
    python = environment(folder)
    command = [str(python), str(Path(__file__).with_name("peers_olive.py")), str(case.folder), str(round(seconds))]
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "OMP_NUM_THREADS")}
    begun = time.perf_counter()
    clean |= {"OLIVE_DISABLE_TELEMETRY": "1"}
    ended, log = _run(command, case.folder / "olive.log", clean, case.folder, seconds + STARTING)
    spent = time.perf_counter() - begun
    models = _made_by_olive(case.folder / "cache" / "default_workflow")
    if not models:
        raise RuntimeError(f"Olive {ended} and made no model:\n{_tail(log)}")
    return Search(_different(models), spent, ended)


def _made_by_olive(cache: Path) -> list[Model]:
    found = [json.loads(file.read_text()) for file in sorted((cache / "evaluations").glob("*.json"))]
    figures = [{name: metric["value"] for name, metric in item["signal"].items()} for item in found]
    front = nondominated([(-f["accuracy-accuracy_score"], f["latency-p50"], f["size-bytes"]) for f in figures])
    files = [next((cache / "runs" / item["model_id"].partition("-")[0]).rglob("*.onnx")) for item in found]
    return [Model(f"Olive {n}", "olive", *pair) for n, pair in enumerate(zip(files, front, strict=True), 1)]


def _different(models: list[Model]) -> list[Model]:
    """Leave out models with the same content, those that are on no front first."""
    kept: dict[bytes, Model] = {}
    for model in sorted(models, key=lambda model: not model.front):
        kept.setdefault(model.file.read_bytes(), model)
    return list(kept.values())


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
