"""Measuring real models in ONNX Runtime on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from measured_models import perceptron

from autoshrink.backends.measuring import Measured, fingerprint, measure, write_inputs
from autoshrink.backends.readiness import ready
from autoshrink.backends.registry import backend
from autoshrink.core import DeviceError, Hardware, Metric
from autoshrink.devices.base import ArtifactFailed
from autoshrink.devices.local import Local
from autoshrink.models.splits import Split

PLAIN: dict[str, Any] = {"name": "here", "kind": "cpu", "backend": "onnxruntime"}
HERE = Hardware(**PLAIN)
ORT = backend("onnxruntime")
ROWS = Split((torch.randn(300, 64, generator=torch.Generator().manual_seed(0)),))


def measured(folder: Path, width: int, depth: int = 1, hardware: Hardware = HERE, **more: Any) -> Measured:
    artifact = perceptron(folder / f"{width}x{depth}", width, depth)
    return measure(ORT, Local(), hardware, folder / f"{width}x{depth}", artifact, ROWS.rows(slice(0, 1)), **more)


def test_a_model_is_measured_and_answers_as_in_its_runtime(tmp_path: Path) -> None:
    write_inputs(ROWS, tmp_path / "rows.npz")
    result = measured(tmp_path, 32, predict={"validation": tmp_path / "rows.npz"})
    metrics, conditions = result.measurement.metrics, result.measurement.conditions
    assert list(metrics) == ["latency", "memory", "size"]
    assert {metric.origin for metric in metrics.values()} == {"measured"}
    path = tmp_path / "32x1" / "model.onnx"
    assert metrics["size"] == Metric.exact(path.stat().st_size, "B")
    assert metrics["memory"].value > 4 * (64 * 32 + 32 * 10)  # the weights alone
    assert 1e-7 < metrics["latency"].value < 1e-2
    assert conditions["threads"] == 1
    assert conditions["versions"]["onnxruntime"] == onnxruntime.__version__
    assert json.loads(json.dumps(conditions)) == conditions
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(result.outputs["validation"], session.run(None, {"x": ROWS.arrays()[0]})[0], atol=1e-5)


@pytest.mark.alone
def test_more_weights_take_more_of_everything(tmp_path: Path) -> None:
    small = measured(tmp_path, 16).measurement.metrics
    large = measured(tmp_path, 1024, 3).measurement.metrics
    weights = 4 * (64 * 1024 + 2 * 1024**2 + 1024 * 10)
    for name, times in (("latency", 5), ("memory", 2), ("size", 100)):
        assert large[name].value > times * small[name].value, name
    assert large["memory"].value - small["memory"].value == pytest.approx(weights, rel=0.2)


def test_memory_is_the_same_in_every_process(tmp_path: Path) -> None:
    peaks = [measured(tmp_path, 256, 2, wants=["memory"]).measurement.metrics["memory"].value for _ in range(3)]
    assert max(peaks) <= 1.02 * min(peaks)


@pytest.mark.alone
def test_latency_is_relative_to_the_reference_on_the_quiet_machine(tmp_path: Path) -> None:
    other = (tmp_path / "512x2", perceptron(tmp_path / "512x2", 512, 2))
    quiet = Metric(value=0.5, unit="s", low=0.4, high=0.6, origin="measured")
    wanted: dict[str, Any] = {"reference": other, "wants": ["latency"]}
    same = measured(tmp_path, 512, 2, **wanted)
    assert same.measurement.conditions["ratio"]["value"] == pytest.approx(1, abs=0.15)
    assert same.measurement.metrics["latency"].value < 0.1
    scaled = measured(tmp_path, 512, 2, **wanted, reference_latency=quiet)
    latency, ratio = scaled.measurement.metrics["latency"], scaled.measurement.conditions["ratio"]
    assert latency.value == pytest.approx(0.5 * ratio["value"])
    assert latency.low <= 0.5 * ratio["value"] * 0.9901
    assert latency.high >= 0.5 * ratio["value"] * 1.0099


@pytest.mark.alone
def test_what_the_reference_alone_says_is_not_taken_off(tmp_path: Path) -> None:
    other = (tmp_path / "512x2", perceptron(tmp_path / "512x2", 512, 2))
    wanted: dict[str, Any] = {"reference": other, "wants": ["latency"], "effort": "quick"}
    slow = Metric(value=0.5, unit="s", low=0.4, high=0.6, origin="measured")
    result = measured(
        tmp_path, 512, 2, **wanted, reference_latency=slow, canary=1
    )  # faster, says one, slower the other
    assert result.measurement.conditions["pace"] == 1
    assert result.measurement.metrics["latency"].value < 0.1


def test_modelled_energy_is_latency_times_power_and_says_so(tmp_path: Path) -> None:
    energy = {"power": "4 W", "band": "50 %", "source": "a data sheet"}
    result = measured(tmp_path, 32, hardware=Hardware(**PLAIN, energy=energy))
    joules, latency = (result.measurement.metrics[name] for name in ("energy", "latency"))
    if joules.origin == "measured":
        pytest.skip("this machine's energy counters can be read")
    assert joules.origin == "modelled"
    assert joules.value == pytest.approx(4 * latency.value)
    assert (joules.low, joules.high) == (pytest.approx(2 * latency.low), pytest.approx(6 * latency.high))
    assert "modelled: a data sheet" in result.measurement.conditions["energy"]


@pytest.mark.parametrize(
    ("wants", "metrics"), [(["size"], ["size"]), (["memory"], ["memory"]), (["latency", "size"], ["latency", "size"])]
)
def test_only_the_wanted_costs_come_back(tmp_path: Path, wants: list[str], metrics: list[str]) -> None:
    assert list(measured(tmp_path, 16, wants=wants).measurement.metrics) == metrics


def test_without_an_example_one_is_invented(tmp_path: Path) -> None:
    artifact = perceptron(tmp_path / "model", 16)
    assert "latency" in measure(ORT, Local(), HERE, tmp_path / "model", artifact).measurement.metrics


def test_a_broken_artifact_is_the_candidates_fault(tmp_path: Path) -> None:
    artifact = perceptron(tmp_path / "model", 16)
    (tmp_path / "model" / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ArtifactFailed, match=r"the runtime failed on the artifact \(load and run it once\): .*onnx"):
        measure(ORT, Local(), HERE, tmp_path / "model", artifact)


def test_inputs_are_written_under_their_names(tmp_path: Path) -> None:
    tokens, mask = torch.arange(12).reshape(3, 4), torch.tensor([[True], [False], [True]])
    for names, keys in (((), ["0", "1"]), (("file", "mask"), ["file", "mask"])):
        write_inputs(Split((tokens, mask), torch.zeros(3), names), tmp_path / "inputs.npz")
        with np.load(tmp_path / "inputs.npz", allow_pickle=False) as file:
            assert file.files == keys
            np.testing.assert_array_equal(file[keys[0]], tokens.numpy())
            np.testing.assert_array_equal(file[keys[1]], mask.numpy())


def test_the_fingerprint_changes_with_the_profile_and_only_then() -> None:
    here = fingerprint(ORT, Local(), HERE)
    assert here == fingerprint(ORT, Local(), Hardware(**PLAIN))
    assert here["versions"]["onnxruntime"] == onnxruntime.__version__
    assert here["key"] != fingerprint(ORT, Local(), Hardware(**PLAIN, threads=2))["key"]


def test_a_measurement_carries_the_fingerprint_and_no_other_machine_s_name(tmp_path: Path) -> None:
    conditions = measured(tmp_path, 16, wants=["latency"]).measurement.conditions
    assert conditions["device"] == fingerprint(ORT, Local(), HERE)["device"]
    assert conditions["versions"]["onnxruntime"] == onnxruntime.__version__
    other = Hardware(**PLAIN, expects={"machine": "a board's"})
    with pytest.raises(DeviceError, match=r"expects a device whose machine is"):
        fingerprint(ORT, Local(), other)
    with pytest.raises(DeviceError, match=r"expects a device whose machine is"):
        measured(tmp_path, 16, hardware=other, wants=["size"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, ""),
        ({"threads": 4096}, "needs 4096 cores"),
        ({"device": "none"}, "is described only"),
        ({"device": "adb://SERIAL"}, "write the phone's serial number"),
        ({"backend": "abacus"}, "no backend 'abacus'"),
        ({"options": {"providers": ["CUDAExecutionProvider"]}}, "CUDAExecutionProvider"),
    ],
)
def test_readiness_says_what_is_missing(changes: dict[str, Any], message: str) -> None:
    said = ready(Hardware(**{**PLAIN, **changes}))
    assert message in said if message else said == ""
