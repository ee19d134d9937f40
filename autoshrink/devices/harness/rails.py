"""ODPM, the power rails that a phone measures by itself: Pixel's on-device power monitor."""

from __future__ import annotations

import re
from pathlib import Path

from .meter import Counter, Meter

__all__ = ["Rails", "find", "rails"]

_RAIL = re.compile(r"^CH\d+\(T=(?P<ms>\d+)\)\[(?P<name>\w*VDD_(CPU|MIF|INT)\w*)\], *(?P<microjoules>\d+)", re.M)
"""Rails of the processor's clusters, of the memory's interface and of the interconnect; others belong to the screen,
the modem and the like. Such as ``CH3(T=358356)[S2M_VDD_CPUCL2], 761330``."""

Rails = dict[str, int]
"""The energy so far of each rail, in µJ."""


def find(root: Path, card: str) -> Meter | None:
    """Find the rails of the processor.

    Args:
        root: what is ``/sys`` on a machine.
        card: of no use here.

    Raises:
        OSError: they are there and can't be read.
        ValueError: there is no rail of the processor among them.
    """
    files = sorted((root / "bus" / "iio" / "devices").glob("iio:device*/energy_value"))
    if not files:
        return None

    def read() -> Rails:
        return rails("\n".join(file.read_text() for file in files))[0]

    return Counter(f"odpm: {' + '.join(sorted(read()))}", lambda: sum(read().values()) * 1e-6)


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
