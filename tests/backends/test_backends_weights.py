"""The weights of a file, read back and compared with the floats that they were made of."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from autoshrink.backends.registry import backend
from autoshrink.core import Artifact, Encoding, Hardware, Recipe, Refusal, Setting, catalog_folder
from autoshrink.models.workload import Workload
from autoshrink.techniques.pipeline import compress
from autoshrink.techniques.weight_errors import FloatWeight, WeightError, float_weights, weight_errors

CPU = Hardware(name="cpu", kind="cpu", backend="onnxruntime")
LAYERS = ["body.0", "body.3", "body.7", "head"]
STATIC, WEIGHT_ONLY = {"scheme": "static", "weight_bits": 8}, {"scheme": "weight_only", "weight_bits": 8}
# The least and the most SQNR in dB of a layer that is rounded, and the layers that must be.
FORMATS: dict[str, tuple[dict[str, object], tuple[float, float], list[str]]] = {
    "float32": ({}, (0, 0), []),
    "float16": ({"weight_bits": 16}, (65, 95), ["body.3", "body.7"]),
    "static": (STATIC, (38, 56), LAYERS),
    "static_per_tensor": ({**STATIC, "granularity": "per_tensor"}, (30, 50), LAYERS),
    "dynamic": ({"scheme": "dynamic", "weight_bits": 8}, (38, 56), ["body.3", "body.7", "head"]),
    "weight_only_8": (WEIGHT_ONLY, (38, 56), ["body.3", "body.7"]),
    "weight_only_4": ({**WEIGHT_ONLY, "weight_bits": 4}, (15, 30), ["body.3", "body.7"]),
}


def errors(workload: Workload, encoding: Encoding, folder: Path, hardware: Hardware = CPU) -> tuple[WeightError, ...]:
    runtime = backend(hardware.backend)
    artifact = runtime.export(workload.model, workload.example, encoding, workload.calibration, folder, hardware)
    stored = runtime.weights(folder, artifact)
    assert stored is not None
    return weight_errors(float_weights(workload.model, workload.example), stored)


@pytest.mark.parametrize("name", FORMATS)
def test_each_layer_is_found_with_the_error_of_its_format(name: str, digits: Workload, tmp_path: Path) -> None:
    settings, (least, most), rounded = FORMATS[name]
    found = errors(digits, Encoding.model_validate(settings), tmp_path)
    assert [item.name for item in found] == LAYERS
    for item in found:
        assert item.sqnr is not None, item
        assert item.error == 0 or least < item.sqnr < most, item
    assert {item.name for item in found if item.error} >= set(rounded)
    assert bool(rounded) == any(item.error for item in found)


def test_shared_weights_are_unpacked(digits: Workload, tmp_path: Path) -> None:
    step = Setting.model_validate({"kind": "weight_sharing", "entries": 16})
    made = compress(Recipe(steps=(step,)), digits)
    runtime = backend("onnxruntime")
    artifact = runtime.export(made.model, digits.example, made.encoding, digits.calibration, tmp_path, CPU)
    assert artifact.notes["codebooks"]
    stored = runtime.weights(tmp_path, artifact)
    assert stored is not None
    assert all(item.error == 0 for item in weight_errors(float_weights(made.model, digits.example), stored))
    shared = weight_errors(float_weights(digits.model, digits.example), stored)
    assert all(item.error is not None and 0.01 < item.error < 0.3 for item in shared), shared


@pytest.mark.parametrize(("bits", "least", "most"), [(8, 35, 60), (4, 12, 32)])
def test_firmware_s_weights_are_read_back(
    digits: Workload, tmp_path: Path, bits: int, least: float, most: float
) -> None:
    pytest.importorskip("tflite_micro", reason="tflite-micro is missing: pip install '.[mcu]'")
    board = Hardware.read(catalog_folder("targets") / "nrf52840.yaml")
    found = errors(digits, Encoding.model_validate({**STATIC, "weight_bits": bits}), tmp_path, board)
    assert [item.name for item in found] == LAYERS
    assert all(item.sqnr is not None and least < item.sqnr < most for item in found), found


def test_a_file_that_is_damaged_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"{}" * 20)
    with pytest.raises(Refusal, match="no ONNX file"):
        backend("onnxruntime").weights(
            tmp_path, Artifact(key="k", backend="onnxruntime", files=("model.onnx",), size=40)
        )


def test_zeros_are_counted(digits: Workload) -> None:
    pruned = copy.deepcopy(digits.model)
    with torch.no_grad():
        pruned.get_submodule("head").get_parameter("weight")[:5] = 0
    [head] = [item for item in float_weights(pruned, digits.example) if item.name == "head"]
    [found] = weight_errors([head], [head.forms[0].T])
    assert (found.zeros, found.error) == (80, 0)


def test_another_layer_s_weights_are_not_taken_for_one_s_own(digits: Workload) -> None:
    strange = np.random.default_rng(0).standard_normal((16, 16, 3, 3))
    convolution = float_weights(digits.model, digits.example)[1]
    assert weight_errors([convolution], [strange, strange.ravel()])[0].error is None
    nothing = FloatWeight("zero", "Linear", (np.zeros((2, 3)),))
    assert weight_errors([nothing], [np.zeros((2, 3))])[0].sqnr is None
