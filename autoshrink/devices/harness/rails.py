"""The power rails that a phone measures by itself: Pixel's on-device power monitor (ODPM)."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["Rails", "rail_files", "rails"]

_RAIL = re.compile(r"^CH\d+\(T=(?P<ms>\d+)\)\[(?P<name>\w*VDD_(CPU|MIF|INT)\w*)\], *(?P<microjoules>\d+)", re.M)
"""Rails of the processor's clusters, of the memory's interface and of the interconnect; others belong to the screen,
the modem and the like. Such as ``CH3(T=358356)[S2M_VDD_CPUCL2], 761330``."""

Rails = dict[str, int]
"""The energy so far of each rail, in µJ."""


def rail_files(folder: Path) -> list[Path]:
    """Find the files that Linux shows rails in, in ``/sys/bus/iio/devices``."""
    return sorted(folder.glob("iio:device*/energy_value"))


def rails(text: str) -> tuple[Rails, float]:
    """Read the content of those files.

    Returns:
        The energy of each rail, and the time of the reading in s.

    Raises:
        ValueError: there is no rail of the processor in it.
    """
    found = {match["name"]: match for match in _RAIL.finditer(text)}
    if not found:
        raise ValueError("no rail of the processor among them")
    return {name: int(match["microjoules"]) for name, match in found.items()}, max(
        int(match["ms"]) for match in found.values()
    ) / 1000
