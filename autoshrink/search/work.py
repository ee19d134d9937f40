"""What a worker does for one candidate: compress a recipe, or measure an artifact. Knows nothing of Ray."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load, load_file, save, save_file

from autoshrink.backends.measuring import Effort, measure, write_inputs
from autoshrink.backends.registry import backend
from autoshrink.core import COSTS, Accuracy, Artifact, Measurement, Recipe, Sensitivity, Target
from autoshrink.devices.base import Device
from autoshrink.devices.registry import device
from autoshrink.models.comparison import answers_of
from autoshrink.models.splits import Split
from autoshrink.models.workload import Workload, load_workload
from autoshrink.techniques.pipeline import compress
from autoshrink.techniques.sensitivity import sensitivity_of

__all__ = ["Compressed", "Files", "Measured", "compress_recipe", "measure_artifact", "sensitivity", "workload_of"]

Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Compressed:
    """An artifact with its files' content, so that it travels between machines."""

    artifact: Artifact
    files: Files
    facts: dict[str, float]
    seconds: dict[str, float]
    recovered: bytes | None = None
    """The weights before the encoding, as safetensors; None in a recipe without a recovery, or before one."""
    start: str | None = None
    """A digest of the model that a recovery begins with; None where known weights took its place."""


@dataclass(frozen=True)
class Measured:
    """An artifact's figures on the device, and its accuracy on the splits that were asked for."""

    measurement: Measurement
    accuracy: Accuracy
    seconds: dict[str, float]
    answers: np.ndarray | None = None
    """What it answered on the test split, in brief as `answers_of` gives it; None where that split was not asked."""


def compress_recipe(
    target: Target,
    recipe: Recipe,
    rung: int | None = None,
    known: bytes | None = None,
    scratch: Path | None = None,
) -> Compressed:
    """Apply a recipe to the original model and export the result for the target's backend.

    Args:
        target: model, data and hardware.
        recipe: what to apply.
        rung: which recovery is done, the whole one by default; with 0 no gradient step is taken.
        known: the weights that it gave earlier.
        scratch: a folder of this search's, where workers share the original's answers on the training split.

    Raises:
        Refusal: the recipe can't be applied to this model, or the backend can't encode it.
    """
    torch.set_num_threads(1)  # the same arithmetic on every machine, and no worker slows another
    workload = workload_of(target)
    if scratch is not None and rung != 0 and known is None and workload.train is not None:
        _share_teacher(workload, scratch)
    model = compress(recipe, workload, target.search.seed, rung, load(known) if known is not None else None)
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="autoshrink-") as folder:
        artifact = backend(target.hardware.backend).export(
            model.model, workload.example, model.encoding, workload.calibration, Path(folder), target.hardware
        )
        files = {name: (Path(folder) / name).read_bytes() for name in artifact.files}
    seconds = {"train": sum(model.seconds.values()), "export": time.perf_counter() - begun}
    recovered = save(dict(model.recovered)) if model.recovered is not None else None
    return Compressed(artifact, files, model.facts, seconds, recovered, model.start)


def sensitivity(target: Target) -> Sensitivity:
    """Measure how much each layer of the original model bears."""
    torch.set_num_threads(1)
    return sensitivity_of(workload_of(target), target.search.seed)


def measure_artifact(
    target: Target,
    artifact: Artifact,
    files: Files,
    reference: tuple[Artifact, Files] | None = None,
    original: Measurement | None = None,
    splits: Sequence[str] = ("validation",),
    wants: Collection[str] = tuple(COSTS),
    effort: Effort = "normal",
    *,
    scratch: Path,
    place: Device | None = None,
) -> Measured:
    """Measure an artifact on the target's device, and score what it answers there.

    Args:
        target: what to measure for.
        artifact: what to measure, with its files.
        files: the content of the artifact's files.
        reference: the original's artifact, timed in turn with this one.
        original: the original's measurement on the quiet device; without it the plain latency is reported.
        splits: the data to score, ``validation`` or ``test``.
        wants: the costs to measure.
        effort: how narrow the latency's interval shall be, and how long that may take.
        scratch: a folder of this search's, where the inputs of the splits are kept as files between calls.
        place: the device; by default the one that the profile names.

    Raises:
        DeviceError: the device did not do what it was asked to.
    """
    begun = time.perf_counter()
    workload = workload_of(target)
    with tempfile.TemporaryDirectory(prefix="autoshrink-") as unpacked:
        folder = _unpack(Path(unpacked) / "artifact", files)
        other = (_unpack(Path(unpacked) / "reference", reference[1]), reference[0]) if reference else None
        measured = measure(
            backend(target.hardware.backend),
            place or device(target.hardware),
            target.hardware,
            folder,
            artifact,
            workload.example,
            reference=other,
            reference_latency=original.metrics.get("latency") if original else None,
            canary=original.conditions.get("canary") if original else None,
            predict={split: _inputs(workload, split, scratch) for split in splits},
            wants=wants,
            effort=effort,
        )
    scores = {split: _score(workload, getattr(workload, split), measured.outputs[split]) for split in splits}
    answers = answers_of(workload, measured.outputs["test"]) if "test" in splits else None
    return Measured(measured.measurement, Accuracy(**scores), {"measure": time.perf_counter() - begun}, answers)


def workload_of(target: Target) -> Workload:
    """Load the user's model and data once in this process."""
    key = f"{target.source.folder}\n{target.to_yaml()}"
    if key not in _LOADED:
        _LOADED.clear()
        _LOADED[key] = load_workload(target)
    return _LOADED[key]


_LOADED: dict[str, Workload] = {}
"""The target that this process works on: a worker serves one search after the other."""


def _inputs(workload: Workload, split: str, scratch: Path) -> Path:
    return _shared(scratch / f"{split}.npz", lambda path: write_inputs(getattr(workload, split), path))


def _share_teacher(workload: Workload, scratch: Path) -> None:
    if "teacher" not in workload.__dict__:
        path = _shared(scratch / "teacher.safetensors", lambda path: save_file({"": workload.teacher}, path))
        workload.__dict__["teacher"] = load_file(path)[""]


def _shared(path: Path, write: Callable[[Path], None]) -> Path:
    # Two workers may both write it, which wastes one's time and does no harm.
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        write(partial)
        partial.replace(path)
    return path


def _score(workload: Workload, split: Split, outputs: np.ndarray) -> float:
    labels = split.labels.numpy() if split.labels is not None else np.empty(0)
    return float(workload.score(outputs, labels))


def _unpack(folder: Path, files: Files) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder
