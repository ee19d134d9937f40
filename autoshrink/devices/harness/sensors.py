"""The energy sensors of a machine, each in a file of its own, and which of them is there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from . import battery, nvml, rails, rapl
from .meter import Meter

__all__ = ["SENSORS", "choose", "sensors"]

SENSORS: dict[str, Callable[[Path, str], Meter | None]] = {
    "nvml": nvml.find,
    "rapl": rapl.find,
    "odpm": rails.find,
    "battery": battery.find,
}
"""By name what finds one: None where there is none, an error where it is there and can't be used."""


def choose(kinds: Iterable[str], root: Path = Path("/sys"), card: str = "") -> tuple[Meter | None, str]:
    """Choose the first sensor of these kinds that can be read.

    Args:
        kinds: names out of `SENSORS`, the best first.
        root: what is ``/sys`` on a machine.
        card: which graphics card; see `autoshrink.devices.harness.nvml`.

    Returns:
        The sensor; or None, and why there is none.
    """
    troubles = []
    for kind in kinds:
        try:
            meter = SENSORS[kind](root, card)
        except (OSError, ValueError) as error:
            troubles.append(f"{kind} can't be read: {error}")
            continue
        if meter is not None:
            return meter, ""
    return None, "; ".join(troubles) or "no energy sensor"


def sensors(root: Path = Path("/sys")) -> tuple[list[str], list[str]]:
    """Name the sensors that can be read here, and say what is wrong with the others that are there."""
    names, troubles = [], []
    for kind in SENSORS:
        meter, trouble = choose([kind], root)
        if meter is not None:
            names.append(meter.name)
        elif trouble != "no energy sensor":
            troubles.append(trouble)
    return names, troubles
