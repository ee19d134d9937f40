"""Ray's workers as a search has them, but for what they do: they sleep, and the answer follows from a formula."""

from __future__ import annotations

import hashlib
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import ray
from onnx import TensorProto, helper

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from overhead_work import _Simulated

from autoshrink.core import Sensitivity, Target
from autoshrink.search.outstanding import Piece
from autoshrink.search.work import Compressed, Measured
from autoshrink.search.workers import Answer, Pool

__all__ = ["Pretending"]

FASTER = 4.0
"""How much sooner work is done than a real one would be."""
_FILE = "model.onnx"


class Pretending(_Simulated, Pool):
    """Real workers of Ray's, which can be killed; Ray, the store, the study and MLflow are the real ones, too."""

    def __init__(self, target: Target, workers: int, address: str | None = None) -> None:
        super().__init__(target, workers, address)
        self._answers: dict[Piece, Answer] = {}
        self._chance = random.Random()

        def nap(seconds: float) -> Iterator[bool | None]:
            yield None
            time.sleep(seconds)
            yield True

        self._nap: Any = ray.remote(num_cpus=1, max_retries=0)(nap)

    def measure(self, made: Compressed, *asked: Any, **named: Any) -> Any:
        figures = {entry.key: entry.value for entry in onnx.load_model_from_string(made.files[_FILE]).metadata_props}[
            "figures"
        ]
        return super().measure(replace(made, files={_FILE: figures.encode()}), *asked, **named)

    def take(self, ended: Piece) -> Answer:
        answer = self._answers.pop(ended)
        return answer if ended.answer else Answer("failed", reason=ended.reason, cut=ended.cut)

    def _send(self, seconds: float, result: Compressed | Measured | Sensitivity, *, on_device: bool = False) -> Any:
        if isinstance(result, Compressed):
            content = _model(result.files[_FILE].decode())
            now = {"size": len(content), "key": hashlib.sha256(content).hexdigest()[:16]}
            result = replace(result, artifact=result.artifact.model_copy(update=now), files={_FILE: content})
        length = seconds / FASTER * self._chance.uniform(0.7, 1.3)
        task = self._nap.options(resources=self._alone if on_device else {})
        piece = self._outstanding.hand_out(lambda: task.remote(length))
        self._answers[piece] = Answer("done", result)
        return piece


def _model(figures: str) -> bytes:
    """Write a model that MLflow takes, and whose note says what it would cost."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1, 8, 8]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "pretended", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, {"figures": figures})
    return bytes(model.SerializeToString())
