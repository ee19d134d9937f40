"""An int8 .tflite on an Arm Ethos-U NPU, as Arm's compiler Vela models it."""

from __future__ import annotations

import csv
import importlib.metadata
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from autoshrink.backends.cortex_m.boards import Npu
from autoshrink.core import BackendUnavailable, DeviceError, Measurement, Metric, Refusal

__all__ = ["NpuEstimate", "compile_for_npu", "npu_measurement", "vela_version"]

_START = "import sys; from ethosu.vela.vela import main; sys.exit(main())"
_BAND = 0.50
"""No published measurement was found to hold Vela's cycles against."""
_KIB = 1024


@dataclass(frozen=True)
class NpuEstimate:
    """What Vela says about one network."""

    model: Path
    """The .tflite that Vela made, for the device."""
    cycles: float
    """Of the NPU and of the memory that it waits for."""
    ram_bytes: int
    flash_bytes: int
    macs: int
    operators: int
    """All of them run on the NPU."""
    version: str


def vela_version() -> str:
    """Give Vela's version.

    Raises:
        BackendUnavailable: it is not installed.
    """
    try:
        return importlib.metadata.version("ethos-u-vela")
    except importlib.metadata.PackageNotFoundError:
        raise BackendUnavailable("Vela is not installed: pip install 'autoshrink[mcu]'") from None


def compile_for_npu(model: Path, npu: Npu, folder: Path, timeout: float = 300.0) -> NpuEstimate:
    """Compile a network for an NPU.

    Args:
        model: an int8 .tflite.
        npu: the accelerator, and Vela's system configuration and memory mode for the chip around it.
        folder: where Vela writes its files.
        timeout: seconds after which the compiler is ended.

    Raises:
        BackendUnavailable: Vela is not installed.
        Refusal: Vela rejects the network, or some operators would run on the CPU, for which Vela has no figures.
        DeviceError: it took longer than the timeout.
    """
    version = vela_version()
    settings = {
        "accelerator-config": npu.accelerator,
        "config": "Arm/vela.ini",
        "system-config": npu.system_config,
        "memory-mode": npu.memory_mode,
        "output-dir": str(folder.resolve()),
    }
    arguments = [part for name, value in settings.items() for part in (f"--{name}", value)]
    command = [sys.executable, "-c", _START, str(model.resolve()), *arguments, "--show-cpu-operations"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command, env=environment, cwd=folder, capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        raise DeviceError(f"Vela took longer than {timeout:g} s") from None
    summary = next(folder.glob("*_summary_*.csv"), None)
    if done.returncode or summary is None:
        raise Refusal(f"Vela {version} rejects the network: {_last_line(done.stderr or done.stdout)}")
    counted = dict(re.findall(r"^(CPU|NPU) operators = (\d+)", done.stdout, re.MULTILINE))
    if int(counted.get("CPU", 0)) or not int(counted.get("NPU", 0)):
        kinds = sorted(set(re.findall(r"operator: (\w+)", done.stdout)))
        raise Refusal(
            f"{', '.join(kinds) or 'an operator'} would run on the CPU beside {npu.accelerator}, for which "
            f"Vela {version} has no figures"
        )
    return _read(summary, int(counted["NPU"]), version, folder)


def npu_measurement(estimate: NpuEstimate, npu: Npu) -> Measurement:
    """Give Vela's figures as a measurement; all of them are modelled."""
    seconds = estimate.cycles / npu.clock
    metrics = {
        "latency": _modelled(seconds, "s", _BAND),
        "memory": _modelled(estimate.ram_bytes, "B"),
        "size": _modelled(estimate.flash_bytes, "B"),
        "cycles": _modelled(estimate.cycles, "1", _BAND),
    }
    if npu.energy is not None and npu.energy.per_cycle is not None:
        energy = estimate.cycles * npu.energy.per_cycle
        metrics["energy"] = _modelled(energy, "J", (1 + _BAND) * (1 + npu.energy.band) - 1)
    conditions = {
        "accelerator": npu.accelerator,
        "clock": npu.clock,
        "model": f"Vela {estimate.version}, {npu.system_config}, {npu.memory_mode}",
        "macs": estimate.macs,
        "npu_operators": estimate.operators,
    }
    return Measurement(metrics=metrics, conditions=conditions)


def _modelled(value: float, unit: str, band: float = 0.0) -> Metric:
    return Metric(value=value, unit=unit, low=value * max(0.0, 1 - band), high=value * (1 + band), origin="modelled")


def _read(summary: Path, operators: int, version: str, folder: Path) -> NpuEstimate:
    with summary.open(encoding="utf-8", newline="") as file:
        row = next(csv.DictReader(file))
    kib = {name: float(row[f"{name}_memory_used"]) for name in ("sram", "dram", "on_chip_flash", "off_chip_flash")}
    return NpuEstimate(
        model=next(folder.glob("*_vela.tflite")),
        cycles=float(row["cycles_total"]),
        ram_bytes=round((kib["sram"] + kib["dram"]) * _KIB),
        flash_bytes=round((kib["on_chip_flash"] + kib["off_chip_flash"]) * _KIB),
        macs=int(float(row["nn_macs"])),
        operators=operators,
        version=version,
    )


def _last_line(text: str) -> str:
    lines = text.strip().splitlines() or ["it says nothing"]
    return lines[-1].removeprefix("RuntimeError: ")[:300]
