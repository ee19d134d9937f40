"""Requests for the small linear model of the device tests."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from autoshrink.devices.base import Device

ADAPTER = Path(__file__).with_name("linear_adapter.py")
QUICK = {"width": 0.1, "rounds": 12, "seconds": 0.05, "patience": 0.1, "block": 0.0002, "loads": 2}
Ask = Callable[..., tuple[dict[str, Any], dict[str, np.ndarray]]]


def request(**changes: Any) -> dict[str, Any]:
    """Ask for nothing but a load and a run, and for what is given."""
    plain: dict[str, Any] = {"artifact": ["artifact", "weights.npz"], "reference": None, "options": {}, "example": None}
    plain |= {"wants": [], "predict": [], "batch": 16, "threads": 1, "pin": True}
    plain |= {
        "stopwatch": {**QUICK, "canary": None, "reference": None},
        "energy": {"sensors": ["rapl"], "card": "", "root": "/none", "seconds": 0.02},
    }
    return plain | changes


def asking(device: Device, files: Mapping[str, Path]) -> Ask:
    """Give a way to have the small model measured on a device."""

    def run(
        adapter: Path = ADAPTER, timeout: float = 60.0, **changes: Any
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        folder = device.run(adapter, request(**changes), files, timeout)
        try:
            answer = json.loads((folder / "answer.json").read_text())
            return answer, {path.stem: np.load(path, allow_pickle=False) for path in folder.glob("*.npy")}
        finally:
            shutil.rmtree(folder)

    return run


def assert_ended(children: Path, seconds: float = 10.0) -> None:
    """Wait for the end of the processes whose numbers stand in a file; a zombie has ended."""
    deadline = time.monotonic() + seconds
    for number in map(int, children.read_text().split()):
        while _runs(number):
            assert time.monotonic() < deadline, f"process {number} still runs"
            time.sleep(0.02)


def _runs(number: int) -> bool:
    try:
        return bool(psutil.Process(number).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
