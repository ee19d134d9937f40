"""Vela as a subprocess: figures of a network whose MACs are known, and what it can't do."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pytest
from mcu_networks import Networks, fb

from autoshrink.backends.cortex_m.boards import read_npu
from autoshrink.backends.cortex_m.vela import compile_for_npu, npu_measurement
from autoshrink.core import BackendUnavailable, Energy, Hardware, Refusal, catalog_folder


@pytest.fixture(scope="module")
def npu():
    return read_npu(Hardware.read(catalog_folder("targets") / "ethos-u55-128.yaml"))


def small_network(unsupported: bool = False) -> bytes:
    networks = Networks(3)
    x = networks.conv(networks.input((1, 16, 16, 8)), 16, (3, 3), activation="relu")
    if unsupported:
        y = networks.node(x.shape)
        networks.op(fb.BuiltinOperator.FLOOR_MOD, [x.index, x.index], y.index)
        x = networks.conv(y, 4, (1, 1))
    return networks.finish(x)


def test_figures_are_modelled_and_carry_velas_name(tmp_path, npu):
    (tmp_path / "net.tflite").write_bytes(small_network())
    estimate = compile_for_npu(tmp_path / "net.tflite", npu, tmp_path)
    assert estimate.macs == 16 * 16 * 16 * 9 * 8
    assert estimate.cycles >= estimate.macs / 128
    assert estimate.ram_bytes >= 16 * 16 * (8 + 16)
    assert estimate.flash_bytes >= 16 * 9 * 8 / 2
    assert estimate.model.read_bytes()[4:8] == b"TFL3"
    measured = npu_measurement(estimate, npu)
    assert measured.metrics["latency"].value == estimate.cycles / 500e6
    assert {metric.origin for metric in measured.metrics.values()} == {"modelled"}
    assert measured.conditions["model"].startswith("Vela " + importlib.metadata.version("ethos-u-vela"))
    assert "energy" not in measured.metrics
    powered = npu.model_copy(update={"energy": Energy(per_cycle="1 nJ", band="10 %", source="a test")})
    assert npu_measurement(estimate, powered).metrics["energy"].value == pytest.approx(estimate.cycles * 1e-9)


def test_an_operator_on_the_cpu_is_refused_by_name(tmp_path, npu):
    (tmp_path / "net.tflite").write_bytes(small_network(unsupported=True))
    with pytest.raises(Refusal, match="FLOOR_MOD would run on the CPU beside ethos-u55-128"):
        compile_for_npu(tmp_path / "net.tflite", npu, tmp_path)


def test_a_file_that_is_no_network_is_refused(tmp_path, npu):
    (tmp_path / "net.tflite").write_bytes(b"not a network" * 10)
    with pytest.raises(Refusal, match=r"^Vela 5.* rejects the network: [^\n]+$"):
        compile_for_npu(tmp_path / "net.tflite", npu, tmp_path)


def test_without_vela_the_error_says_what_to_install(tmp_path, npu, monkeypatch):
    elsewhere = [folder for folder in sys.path if not (Path(folder) / "ethosu").is_dir()]
    monkeypatch.setattr(sys, "path", elsewhere)
    with pytest.raises(BackendUnavailable, match=r"pip install 'autoshrink\[mcu\]'"):
        compile_for_npu(tmp_path / "net.tflite", npu, tmp_path)
