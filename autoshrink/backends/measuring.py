"""Measure an artifact on its device: latency, memory, size, energy, and what it answers."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from autoshrink.backends.base import Backend, DeployedBackend, EmulatedBackend, listed
from autoshrink.core import COSTS, Artifact, DeviceError, Hardware, Measurement, Metric, SpecError, content_key
from autoshrink.devices.base import Device
from autoshrink.devices.identity import check_identity
from autoshrink.models.arrays import read_array

if TYPE_CHECKING:
    from autoshrink.models.splits import Split

__all__ = ["Effort", "Measured", "fingerprint", "measure", "write_inputs"]

Effort = Literal["quick", "normal", "thorough"]

_STOPWATCH: dict[Effort, dict[str, float]] = {
    "quick": {"width": 0.04, "rounds": 12, "seconds": 0.2, "patience": 1.0},
    "normal": {"width": 0.02, "rounds": 24, "seconds": 0.5, "patience": 3.0},
    "thorough": {"width": 0.01, "rounds": 60, "seconds": 3.0, "patience": 10.0},
}
_LOADS = 3
_BLOCK = 0.0008
_BATCH = 256
_SENSORS = {"gpu": ["nvml"]}
_OTHER_SENSORS = ["rapl", "odpm", "battery"]
"""Those that show what the hardware of a profile spends, by its kind; the finest first."""
_REPEATS_WITHIN = 0.01
"""What a latency differs from one process to the next on a quiet machine; no interval is narrower."""
_DISTURBED_WITHIN = 0.02
"""What it differs by on top where every block was disturbed; with two workers in training, half of them are."""
_HEAP_WITHIN, _RESIDENT_WITHIN = 0.03, 0.2
"""What a peak may be under the true one, by its method."""


@dataclass(frozen=True)
class Measured:
    """An artifact's figures, and its first output for each split that was predicted: shape (examples, …)."""

    measurement: Measurement
    outputs: dict[str, np.ndarray]


def measure(
    backend: Backend,
    device: Device,
    hardware: Hardware,
    folder: Path,
    artifact: Artifact,
    example: Split | None = None,
    *,
    reference: tuple[Path, Artifact] | None = None,
    reference_latency: Metric | None = None,
    canary: float | None = None,
    predict: Mapping[str, Path] | None = None,
    wants: Collection[str] = tuple(COSTS),
    effort: Effort = "normal",
    timeout: float = 300.0,
) -> Measured:
    """Measure an artifact in a process of its own on a device, or as an emulated backend does.

    Latency is that of one example. With a reference, both are timed in turn, and when the reference's latency on the
    quiet device is given, what slows the machine as a whole (``conditions["pace"]``) is taken off the artifact's.
    Where the machine never was quiet (``conditions["quiet"]``), the band reaches from what the model may take on a
    quiet core to what it took.

    Energy is measured where a sensor of the profile's hardware can be read, with its resolution in the band; else it is
    modelled as latency times the power that the profile states, within the profile's band, and marked so.

    The conditions have the device's own fingerprint, taken by the process that measured.

    Where the profile names the runtime's own benchmark program, that takes the figures on the device; the outputs are
    then those of the same file in the same runtime here, as ``conditions["accuracy"]`` says.

    Args:
        backend: the runtime.
        device: where to measure.
        hardware: the profile: threads, pinning, the backend's options, energy constants.
        folder: holds the artifact's files.
        artifact: what to measure.
        example: one example; without it numbers are invented, if the artifact's inputs have no other free dimension.
        reference: another artifact to compare with, and its folder.
        reference_latency: the reference's latency, measured earlier on the quiet device.
        canary: ``conditions["canary"]`` of that measurement; tells a quiet machine from one that is busy throughout.
        predict: inputs to run, by name, as `write_inputs` writes them.
        wants: which costs to measure.
        effort: how narrow the latency's interval shall be, and how long that may take.
        timeout: seconds after which the device has failed.

    Raises:
        ArtifactFailed: the runtime refused the artifact or died of it.
        BackendUnavailable: the runtime is not there.
        DeviceError: the device failed, or is obviously another than the profile says.
    """
    if isinstance(backend, EmulatedBackend):
        return Measured(*backend.measure(folder, artifact, hardware, predict or {}))
    if not isinstance(backend, DeployedBackend):
        raise TypeError(f"backend {backend.kind} says neither how it is deployed nor how it is emulated")
    power = hardware.energy.power if hardware.energy is not None and "energy" in wants else None
    files = {"artifact": folder, **(predict or {})}
    timed = "latency" in wants or power is not None
    request: dict[str, Any] = {
        "artifact": ["artifact", artifact.files[0]],
        "reference": None,
        "options": {"threads": hardware.threads, **hardware.options},
        "example": None,
        "wants": [*(["memory"] if "memory" in wants else []), *(["latency"] if timed else [])],
        "predict": list(predict or {}),
        "batch": _BATCH,
        "threads": hardware.threads,
        "pin": hardware.pin,
        "python": str(backend.environment.python) if backend.environment else None,
        "energy": {
            "sensors": _SENSORS.get(hardware.kind, _OTHER_SENSORS),
            "card": str(hardware.options.get("device", "")),
            "root": "/sys",
            "seconds": 0.3,
        },
        "benchmark": backend.benchmark(hardware),
        "stopwatch": {
            **_STOPWATCH[effort],
            "block": _BLOCK,
            "loads": _LOADS,
            "canary": canary,
            "reference": reference_latency.value if reference_latency else None,
        },
    }
    if "energy" in wants:
        request["wants"].append("energy")
    if reference is not None and timed:
        files["reference"] = reference[0]
        request["reference"] = ["reference", reference[1].files[0]]
    with tempfile.TemporaryDirectory(prefix="autoshrink-example-") as scratch:
        if example is not None:
            files["example"] = Path(scratch) / "example.npz"
            write_inputs(example, files["example"])
            request["example"] = "example"
        back = device.run(backend.adapter, request, files, timeout)
    try:
        answer = json.loads((back / "answer.json").read_text())
        outputs = {name: read_array(back / f"{name}.npy") for name in predict or {}}
    except (OSError, ValueError, SpecError) as error:
        raise DeviceError(f"{device.address} sent an answer that can't be read: {error}") from None
    finally:
        shutil.rmtree(back)
    check_identity(hardware, answer["device"])
    metrics = _metrics(answer, hardware, artifact)
    metrics = {name: metrics[name] for name in COSTS if name in metrics and name in wants}
    return Measured(Measurement(metrics=metrics, conditions=_conditions(answer, hardware)), outputs)


def write_inputs(split: Split, path: Path) -> None:
    """Write the inputs of a split as an .npz file, by name, or by position where they have no names."""
    names = split.names or tuple(str(index) for index in range(len(split.inputs)))
    # As numpy.savez does, which can't write an input that is called "file".
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in zip(names, split.arrays(), strict=True):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)


def fingerprint(backend: Backend, device: Device, hardware: Hardware) -> dict[str, Any]:
    """Describe all that a measurement depends on but the artifact; ``key`` changes when any of it does.

    Raises:
        DeviceError: the device can't be reached, or is obviously another than the profile says.
    """
    described = device.fingerprint()
    check_identity(hardware, described)
    facts = {
        "device": described,
        "profile": hardware.model_dump(mode="json", exclude_none=True),
        "versions": {**(here := backend.versions()), **device.versions(here)},
    }
    return {"key": content_key(facts)[:12], **facts}


def _metrics(answer: Mapping[str, Any], hardware: Hardware, artifact: Artifact) -> dict[str, Metric]:
    metrics = {"size": Metric.exact(artifact.size, "B")}
    if "memory" in answer:
        memory = answer["memory"]
        peak, within = memory["peak"], _RESIDENT_WITHIN if memory["method"] == "resident set" else _HEAP_WITHIN
        metrics["memory"] = Metric(value=peak, unit="B", low=peak, high=peak * (1 + within), origin="measured")
    if "latency" in answer:
        metrics["latency"] = _latency(answer["latency"])
    energy = answer.get("energy", {})
    if "value" in energy:
        metrics["energy"] = Metric(
            unit="J", origin="measured", **{name: energy[name] for name in ("value", "low", "high")}
        )
    elif "latency" in metrics and hardware.energy is not None and hardware.energy.power is not None:
        metrics["energy"] = _modelled(metrics["latency"], hardware.energy.power, hardware.energy.band)
    return metrics


def _latency(timed: Mapping[str, Any]) -> Metric:
    own, pace = timed["artifact"], timed.get("pace", 1.0)
    value, low, high = (own[name] / pace for name in ("value", "low", "high"))
    if not timed["quiet"]:
        low, high = min(low, own["low"] / max(timed["slowdown"], 1.0)), max(high, own["high"])
    within = _REPEATS_WITHIN + _DISTURBED_WITHIN * (1 - own["rounds"] / timed["rounds"])
    low, high = min(low, value * (1 - within)), max(high, value * (1 + within))
    return Metric(value=value, unit="s", low=low, high=high, origin="measured")


def _modelled(latency: Metric, power: float, band: float) -> Metric:
    low, high = latency.low * power * (1 - band), latency.high * power * (1 + band)
    return Metric(value=latency.value * power, unit="J", low=max(low, 0.0), high=high, origin="modelled")


def _conditions(answer: Mapping[str, Any], hardware: Hardware) -> dict[str, Any]:
    conditions: dict[str, Any] = {"threads": hardware.threads, "cores": answer["cores"]}
    timed = answer.get("latency")
    if timed is not None:
        own = timed["artifact"]  # a runtime's own program may not print each
        conditions |= {name: own[name] for name in ("median", "p90", "p95", "p99") if name in own}
        conditions |= {name: timed[name] for name in ("quiet", "slowdown", "rounds", "canary")}
        conditions |= {"calls": own["calls"], "clean_rounds": own["rounds"]}
        conditions |= {name: timed[name] for name in ("ratio", "reference", "pace") if name in timed}
    if "memory" in answer:
        conditions["memory"] = {name: value for name, value in answer["memory"].items() if name != "peak"}
    if "energy" in answer:
        conditions |= _energy_conditions(answer["energy"], hardware)
    if "predicted" in answer:
        conditions["accuracy"] = answer["predicted"]
    conditions |= {name: answer[name] for name in ("phone",) if name in answer}
    conditions["load_average"] = answer["load_average"]
    told = ("device", "clocks", "versions", "adapter", "seconds")
    return conditions | {name: answer[name] for name in told if name in answer}


def _energy_conditions(energy: Mapping[str, Any], hardware: Hardware) -> dict[str, Any]:
    """Say which sensor gave the figure and how fine it is, or why there is only a modelled one."""
    if "rails" in energy:
        return {"energy": f"by the phone's power rails {listed(energy['rails'])}"}
    if "value" in energy:
        told = ("resolution", "interval", "idle", "calls")
        return {"energy": f"measured by {energy['sensor']}", "sensor": {name: energy[name] for name in told}}
    return {"energy": f"{energy['note']}; modelled: {hardware.energy.source}"} if hardware.energy is not None else {}
