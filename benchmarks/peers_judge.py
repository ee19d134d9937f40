"""How peers.py judges models: all measured in the same way, in one run, and compared by one reference point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import moocore
import numpy as np
import onnxruntime

from autoshrink.backends.measuring import Effort, measure
from autoshrink.backends.registry import backend
from autoshrink.core import Accuracy, Artifact, Candidate, Front, Limits, Measurement, Recipe, judge
from autoshrink.devices.registry import device

if TYPE_CHECKING:
    from peers_case import Case

__all__ = ["OBJECTIVES", "Beaten", "Judge", "Judged", "Model", "Part", "Verdict", "compare", "nondominated"]

Kind = Literal["original", "ours", "olive", "tool"]
OBJECTIVES = ("accuracy", "latency", "size")
_BATCH = 500


@dataclass(frozen=True)
class Model:
    """A model file and who made it."""

    name: str
    kind: Kind
    file: Path
    front: bool = False
    """Whether the search that made it has it on its own front, by its own figures."""


@dataclass(frozen=True)
class Judged:
    """A model with its figures."""

    model: Model
    candidate: Candidate
    above_floor: bool

    @property
    def latency(self) -> float:
        """Seconds."""
        return self.candidate.metrics["latency"].value

    @property
    def size(self) -> float:
        """Bytes."""
        return self.candidate.metrics["size"].value

    @property
    def accuracy(self) -> float:
        """On the test split."""
        return self.candidate.accuracy.test or 0.0

    def document(self) -> dict[str, Any]:
        """Give the figures for JSON."""
        metric = self.candidate.metrics["latency"]
        return {
            "name": self.model.name,
            "kind": self.model.kind,
            "on_own_front": self.model.front,
            "accuracy": self.accuracy,
            "latency": self.latency,
            "latency_band": [metric.low, metric.high],
            "size": self.size,
            "above_floor": self.above_floor,
        }


@dataclass(frozen=True)
class Part:
    """What models of one search amount to: hypervolume, who dominates, and the best latency and size at the floor."""

    hypervolume: float
    front: list[str]
    latency: float | None
    size: float | None


@dataclass(frozen=True)
class Beaten:
    """The model of ours that beats a single tool by most, and by how much."""

    by: str
    faster: float
    smaller: float

    @property
    def both(self) -> bool:
        """Whether it is faster and smaller."""
        return self.faster > 1 and self.smaller > 1


@dataclass(frozen=True)
class Verdict:
    """Everything that follows from the figures."""

    floor: float
    original: Judged
    judged: list[Judged]
    ours: Part
    """By the models of our own front."""
    olive: Part
    """By the models of Olive's own front."""
    ours_all: Part
    """By every model that our search made, as if it had known the test split."""
    olive_all: Part
    against: dict[str, Beaten | None]

    @property
    def ratio(self) -> float | None:
        """Our front's hypervolume over that of Olive's; None where Olive's is 0."""
        return self.ours.hypervolume / self.olive.hypervolume if self.olive.hypervolume else None

    @property
    def ratio_all(self) -> float | None:
        """The same by every model that either made."""
        return self.ours_all.hypervolume / self.olive_all.hypervolume if self.olive_all.hypervolume else None

    @property
    def shown(self) -> list[Judged]:
        """The original, both fronts and the single tools."""
        return [item for item in self.judged if item.model.kind in ("original", "tool") or item.model.front]


class Judge:
    """Measures models against the original, which is measured first."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._float = Model("original", "original", case.float_model)
        self._original = self._measured(self._float, "thorough", None)

    def original(self) -> tuple[Model, Candidate]:
        """Give the original's figures."""
        return self._float, self._candidate(0, self._float, self._original)

    def judged(self, number: int, model: Model) -> tuple[Model, Candidate]:
        """Measure a model: latency in turn with the original, size, and accuracy on the test split."""
        return model, self._candidate(number, model, self._measured(model, "normal", self._original))

    def _measured(self, model: Model, effort: Effort, original: Measurement | None) -> Measurement:
        hardware = self._case.target.hardware
        reference = (self._float.file.parent, _artifact(self._float.file)) if original else None
        return measure(
            backend(hardware.backend),
            device(hardware),
            hardware,
            model.file.parent,
            _artifact(model.file),
            self._case.workload.example,
            reference=reference,
            reference_latency=original.metrics["latency"] if original else None,
            canary=original.conditions["canary"] if original else None,
            wants=("latency", "size"),
            effort=effort,
        ).measurement

    def _candidate(self, number: int, model: Model, measurement: Measurement) -> Candidate:
        test = self._case.workload.test
        if test.labels is None:
            raise ValueError("the test split has no labels")
        accuracy = Accuracy(test=_accuracy(model.file, test.inputs[0].numpy(), test.labels.numpy()))
        return Candidate(id=number, recipe=Recipe(), outcome="measured", measurement=measurement, accuracy=accuracy)

    def floor(self, original: Candidate) -> float:
        """Give the accuracy floor on the test split."""
        return self._case.target.accuracy.floor_for(original.accuracy.test or 0.0)


def compare(models: Sequence[tuple[Model, Candidate]], floor: float) -> Verdict:
    """Compare the fronts of both searches, and ours with each single tool.

    Args:
        models: with their figures, the original first.
        floor: the lowest accuracy on the test split that counts.
    """
    first = models[0][1]
    judged = [Judged(model, found, (found.accuracy.test or 0.0) >= floor) for model, found in models]
    kinds = {kind: [item for item in judged if item.model.kind == kind] for kind in ("ours", "olive", "tool")}
    fronts = {kind: [item for item in items if item.model.front] for kind, items in kinds.items()}
    baseline = {name: first.metrics[name].value for name in ("latency", "size")}
    limits = Limits(floor=floor, costs={}, baseline=baseline)
    return Verdict(
        floor=floor,
        original=judged[0],
        judged=judged,
        ours=_part(fronts["ours"], limits),
        olive=_part(fronts["olive"], limits),
        ours_all=_part(kinds["ours"], limits),
        olive_all=_part(kinds["olive"], limits),
        against={item.model.name: _beaten(item, fronts["ours"]) for item in kinds["tool"]},
    )


def nondominated(points: Sequence[Sequence[float]]) -> list[bool]:
    """Say which points no other one dominates; all are to be made small, and equal ones stay."""
    return [bool(kept) for kept in moocore.is_nondominated(points, keep_weakly=True)] if points else []


def _part(items: Sequence[Judged], limits: Limits) -> Part:
    front: Front = judge([item.candidate for item in items], OBJECTIVES, limits)
    members = {member.id for member in front.members}
    known = [item for item in items if item.above_floor]
    return Part(
        hypervolume=front.hypervolume,
        front=[item.model.name for item in items if item.candidate.id in members],
        latency=min((item.latency for item in known), default=None),
        size=min((item.size for item in known), default=None),
    )


def _beaten(tool: Judged, ours: Sequence[Judged]) -> Beaten | None:
    found = [
        Beaten(item.model.name, tool.latency / item.latency, tool.size / item.size) for item in ours if item.above_floor
    ]
    return max(found, key=lambda beaten: min(beaten.faster, beaten.smaller), default=None)


def _artifact(file: Path) -> Artifact:
    return Artifact(key=file.stem, backend="onnxruntime", files=(file.name,), size=file.stat().st_size)


def _accuracy(file: Path, images: np.ndarray, labels: np.ndarray) -> float:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    parts = (images[at : at + _BATCH] for at in range(0, len(images), _BATCH))
    answers = np.concatenate([session.run(None, {name: part})[0] for part in parts])
    return float(np.mean(answers.argmax(1) == labels))
