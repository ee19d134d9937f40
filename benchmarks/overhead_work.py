"""Work that is only simulated: what a recipe would cost and score follows from a formula, at once or after a sleep."""

from __future__ import annotations

import hashlib
import json
import math
import random
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

from autoshrink.core import (
    COSTS,
    Accuracy,
    Artifact,
    Measurement,
    Metric,
    Recipe,
    Sensitivity,
    Source,
    Target,
    catalog_folder,
)
from autoshrink.models.recovery import RUNGS
from autoshrink.search.outstanding import Piece
from autoshrink.search.work import Compressed, Measured
from autoshrink.search.workers import Answer, Pool
from autoshrink.techniques.registry import untrained

__all__ = ["SECONDS", "Instant", "Sleeping", "accepts", "cluster", "target"]

SECONDS = {"shape": 3.0, "cost": 1.0, "train": 10.0, "score": 1.0}
"""What a sleeping worker takes for each step of a candidate, 30 % more or less: 4 s where the costs break the budget,
else up to 15 s; real ones take 2 to 20 s."""
_SPREAD = 0.3
_CORES = 8
"""CPUs and devices of a simulated node."""
_ORIGINAL = {"accuracy": 0.985, "latency": 2e-4, "size": 2e6}
_WEIGHTS = bytes(4096)


def target(candidates: int, workers: int) -> Target:
    """Declare a search with three objectives of which about a third of the recipes keep all limits."""
    data = {
        "model": "model.py:build",
        "data": "data.py:splits",
        "accuracy": {"max_drop": 0.03},
        "hardware": "cpu",
        "budget": {"latency": "80 us", "size": "500 kB"},
        "search": {"space": "cnn", "candidates": candidates, "workers": workers, "seed": 0},
    }
    return Target.parse(data, Source("simulated.yaml", folder=catalog_folder("examples") / "digits"))


def accepts(encoding: object) -> str:
    """Execute every encoding."""
    return ""


def simulate(recipe: Recipe, rung: int) -> dict[str, float]:
    """Foretell accuracy, latency and size of a recipe after a rung of its recovery."""
    noise = random.Random(recipe.key)
    settings = {step.kind: step.params for step in recipe.steps}
    latency, size, loss = _ORIGINAL["latency"], _ORIGINAL["size"], 0.0
    if "channel_pruning" in settings:
        ratio = float(str(settings["channel_pruning"]["ratio"]))
        loss += 0.15 * ratio**2.5
        latency *= (1 - ratio) ** 1.2
        size *= (1 - ratio) ** 1.7
    if "low_rank" in settings:
        rank = float(str(settings["low_rank"]["rank_ratio"]))
        loss += 0.08 * (1 - rank) ** 2
        latency *= 0.35 + 0.7 * rank
        size *= 0.15 + 0.85 * rank
    if "weight_sharing" in settings:
        loss += 0.01
        size *= 0.5
    if "quantization" in settings:
        bits = int(str(settings["quantization"]["weight_bits"]))
        loss += {8: 0.004, 4: 0.04}.get(bits, 0.0)
        latency *= 0.5 if settings["quantization"].get("scheme") == "static" else 1.1
        size *= bits / 32
    if "distillation" in settings:
        alpha = float(str(settings["distillation"]["alpha"]))
        loss *= 1 - rung / len(RUNGS) * 0.8 * math.exp(-8 * (alpha - 0.65) ** 2)
    accuracy = _ORIGINAL["accuracy"] - loss + noise.gauss(0, 0.001)
    return {"accuracy": accuracy, "latency": latency * noise.gauss(1, 0.01), "size": round(size)}


@dataclass(eq=False)
class _Done:
    answer: Answer


NO_TABLE = Sensitivity(workload="", seed=0, measure="kl_divergence", base_loss=0.0, examples=0, seconds=0.0, layers=())
"""What the layers of no model bear."""


class _Simulated:
    """What a pool is asked for, as if workers had done it."""

    def warm_up(self) -> None:
        """Nothing has to be loaded."""

    def sensitivity(self) -> Any:
        return self._send(0.0, NO_TABLE)

    def compress(self, recipe: Recipe, rung: int | None = None, known: bytes | None = None) -> Any:
        shape_only = rung == 0 or known is not None
        length = RUNGS[-1 if rung is None else rung - 1]
        seconds = SECONDS["shape"] if shape_only else SECONDS["train"] * length.share * length.epochs
        return self._send(seconds, _compressed(recipe, rung, seconds))

    def measure(
        self,
        made: Compressed,
        reference: Compressed | None = None,
        original: Measurement | None = None,
        splits: Collection[str] = ("validation",),
        wants: Collection[str] = tuple(COSTS),
        effort: str = "full",
    ) -> Any:
        seconds = 0.0 if "test" in splits else SECONDS["cost" if wants else "score"]
        return self._send(seconds, _measured(made, splits, wants, seconds), on_device=bool(wants))

    def _send(self, seconds: float, result: Compressed | Measured | Sensitivity, *, on_device: bool = False) -> Any:
        raise NotImplementedError


class Instant(_Simulated):
    """A pool whose workers answer at once."""

    devices = 8

    def wait(self, running: list[_Done], timeout: float) -> list[_Done]:
        return running[:1]

    def take(self, ended: _Done) -> Answer:
        return ended.answer

    def _send(self, seconds: float, result: Compressed | Measured | Sensitivity, *, on_device: bool = False) -> _Done:
        return _Done(Answer("done", result))


@dataclass
class Naps:
    """When workers were asleep, that is, at work."""

    spans: list[tuple[float, float]] = field(default_factory=list)

    def between(self, begin: float, end: float) -> float:
        """Add up the seconds that workers were busy in a window of time."""
        return sum(max(0.0, min(stop, end) - max(start, begin)) for start, stop in self.spans)


class Sleeping(_Simulated, Pool):
    """Ray's workers, asleep for as long as the work would take; they import nothing of ours."""

    def __init__(self, target: Target, workers: int, address: str) -> None:
        super().__init__(target, workers, address)
        self.naps = Naps()
        self._chance = random.Random(0)
        self._answers: dict[Piece, Answer] = {}

        def nap(seconds: float) -> Iterator[tuple[float, float] | None]:
            begun = time.time()
            yield None
            time.sleep(seconds)
            yield begun, time.time()

        self._nap: Any = ray.remote(num_cpus=1, max_retries=0)(nap)

    def start(self, workers: int) -> None:
        """Start the workers' processes."""
        for piece in [self._outstanding.hand_out(lambda: self._nap.remote(2.0)) for _ in range(workers)]:
            self._await(piece)

    def take(self, ended: Piece) -> Answer:
        self.naps.spans.append(ended.answer)
        return self._answers.pop(ended)

    def rest(self) -> None:
        """Wait for the workers that are asleep, so that their naps count too."""
        for piece in list(self._answers):
            self._await(piece)
            self.take(piece)

    def _send(self, seconds: float, result: Compressed | Measured | Sensitivity, *, on_device: bool = False) -> Any:
        task = self._nap.options(resources={self._device: 1} if on_device else {})
        length = seconds * self._chance.uniform(1 - _SPREAD, 1 + _SPREAD)
        piece = self._outstanding.hand_out(lambda: task.remote(length))
        self._answers[piece] = Answer("done", result)
        return piece

    def _await(self, piece: Piece) -> None:
        while not self.wait([piece], timeout=1.0):
            pass


@contextmanager
def cluster(workers: int, device: str) -> Iterator[str]:
    """Start nodes of up to eight CPUs and devices on this machine; gives the cluster's address."""
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for begun in range(0, workers, _CORES):
        cores = min(_CORES, workers - begun)
        nodes.add_node(num_cpus=cores, resources={device: cores}, object_store_memory=100 * 2**20)
    nodes.wait_for_nodes()
    yield nodes.address
    nodes.shutdown()


def _compressed(recipe: Recipe, rung: int | None, seconds: float) -> Compressed:
    done = len(RUNGS) if rung is None else rung
    content = json.dumps({**simulate(recipe, done), "recipe": recipe.key, "rung": done}).encode()
    artifact = Artifact(
        key=hashlib.sha256(content).hexdigest()[:16],
        backend="onnxruntime",
        files=("model.onnx",),
        size=len(content),
        structure=untrained(recipe).key,
        notes={"opset": 18, "quantized": 12},
    )
    recovers = recipe.setting("distillation") is not None
    facts = {"macs": 1e6, "parameters": 3e5, "nonzero": 2e5}
    spent = {"train": seconds if done else 0.0, "export": 0.0 if done else seconds}
    return Compressed(artifact, {"model.onnx": content}, facts, spent, _WEIGHTS if recovers and done else None)


def _measured(made: Compressed, splits: Collection[str], wants: Collection[str], seconds: float) -> Measured:
    figures = json.loads(made.files["model.onnx"])
    metrics = {
        name: Metric(value=value, unit=COSTS[name], low=value * 0.98, high=value * 1.02, origin="measured")
        for name, value in figures.items()
        if name in wants
    }
    conditions = {
        "threads": 1,
        "cores": [0],
        "rounds": 40,
        "p95": 1e-4,
        "quiet": True,
        "canary": 1e-5,
        "reference": 2e-4,
    }
    accuracy = Accuracy(**{split: figures["accuracy"] for split in splits})
    measurement = Measurement(metrics=metrics, conditions=conditions if metrics else {})
    return Measured(measurement, accuracy, {"measure": seconds})


def folder_size(folder: Path) -> int:
    """Add up the bytes of the files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
