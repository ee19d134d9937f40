"""The battery: what flows out of it, as Linux shows it under ``/sys/class/power_supply``; the whole device's."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

from .meter import Gauge, Meter

__all__ = ["find"]

_FILES = ("power_now",), ("current_now", "voltage_now")
"""µW; or µA and µV."""


def find(root: Path, card: str) -> Meter | None:
    """Find a battery that the device runs on: while it is charged, what flows through it is not what is spent.

    Args:
        root: what is ``/sys`` on a machine.
        card: of no use here.

    Raises:
        OSError: it is there and can't be read.
        ValueError: it shows no number, or the device does not run on it.
    """
    for supply in sorted((root / "class" / "power_supply").glob("*")):
        told = {path.name for path in supply.iterdir()}
        if "type" not in told or _text(supply / "type") != "Battery":
            continue
        files = next((names for names in _FILES if told.issuperset(names)), None)
        if files is None:
            continue
        status = _text(supply / "status")
        if status != "Discharging":
            raise ValueError(f"{supply.name} is {status.lower()}: unplug the device to measure")
        watts = partial(_watts, [supply / name for name in files])
        watts()
        return Gauge(f"battery: {supply.name}", watts)
    return None


def _watts(files: list[Path]) -> float:
    # Some drivers show what flows out as a negative number.
    return abs(math.prod(int(_text(file)) * 1e-6 for file in files))


def _text(path: Path) -> str:
    return path.read_text().strip()
