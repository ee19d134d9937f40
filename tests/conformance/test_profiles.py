"""One table over every hardware profile in targets/."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from autoshrink.backends.measuring import measure
from autoshrink.backends.readiness import ready
from autoshrink.backends.registry import backend, kinds
from autoshrink.core import Artifact, BackendUnavailable, Encoding, Hardware, catalog_folder, names
from autoshrink.devices.registry import device

PROFILES = names("targets")


@pytest.fixture
def hardware(request: pytest.FixtureRequest) -> Hardware:
    return Hardware.read(catalog_folder("targets") / f"{request.param}.yaml")


every_profile = pytest.mark.parametrize("hardware", PROFILES, indirect=True)


def test_there_are_profiles_with_names_of_their_own() -> None:
    read = [Hardware.read(catalog_folder("targets") / f"{name}.yaml").name for name in PROFILES]
    assert "cpu" in PROFILES
    assert len(set(read)) == len(read)


@every_profile
def test_a_profile_reads_back_as_it_was_written(hardware: Hardware, tmp_path: Path) -> None:
    (tmp_path / "profile.yaml").write_text(hardware.to_yaml(), encoding="utf-8")
    assert Hardware.read(tmp_path / "profile.yaml") == hardware


@every_profile
def test_its_backend_exists_and_knows_its_options(hardware: Hardware) -> None:
    assert hardware.backend in kinds()
    with contextlib.suppress(BackendUnavailable):
        backend(hardware.backend).require(hardware)


@every_profile
def test_its_energy_has_a_source_and_a_band_that_leaves_something(hardware: Hardware) -> None:
    if hardware.energy is not None:
        assert len(hardware.energy.source) > 20
        assert 0.05 <= hardware.energy.band < 1


@every_profile
def test_some_encoding_can_be_executed_on_it(hardware: Hardware) -> None:
    tried = [Encoding()] + [
        Encoding(scheme=scheme, weight_bits=bits)
        for scheme in hardware.capabilities.schemes
        for bits in hardware.capabilities.weight_bits
    ]
    assert any(not backend(hardware.backend).accepts(encoding, hardware) for encoding in tried)


@every_profile
def test_readiness_is_what_measuring_finds(hardware: Hardware, tmp_path: Path) -> None:
    missing = ready(hardware)
    if missing:
        assert hardware.name in missing
        return
    if hardware.backend != "onnxruntime":
        pytest.skip("the model of this test is an ONNX file")
    weights = numpy_helper.from_array(np.ones((8, 2), np.float32), "w")
    given, taken = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size]) for name, size in (("x", 8), ("y", 2))
    )
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "matmul", [given], [taken], [weights])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "model.onnx")
    artifact = Artifact(key="k", backend="onnxruntime", files=("model.onnx",), size=1)
    measurement = measure(
        backend(hardware.backend), device(hardware), hardware, tmp_path, artifact, effort="quick"
    ).measurement
    assert measurement.metrics["latency"].origin == "measured"
    assert len(measurement.conditions["cores"]) == (hardware.threads if hardware.pin else 0)
    assert ("energy" in measurement.metrics) == (hardware.energy is not None)
