"""RAPL: the energy counters of x86 processors, as Linux shows them under ``/sys/class/powercap``."""

from __future__ import annotations

from pathlib import Path

from .meter import Counter, Meter

__all__ = ["find"]


def find(root: Path, card: str) -> Meter | None:
    """Find the counters of all processors and of their memory.

    A processor's parts (cores, uncore) are counted in it; its memory (``dram``) is not. ``psys``, the whole platform,
    would count everything twice.

    Args:
        root: what is ``/sys`` on a machine.
        card: of no use here.

    Raises:
        OSError: they are there and can't be read.
        ValueError: they show no number.
    """
    zones = sorted((root / "class" / "powercap").glob("*-rapl:*"))
    named = [(zone, (zone / "name").read_text().strip()) for zone in zones]
    chosen = [(zone, name) for zone, name in named if name.startswith("package") or name == "dram"]
    if not chosen:
        return None
    domains = [_Domain(zone) for zone, _ in chosen]
    return Counter(
        f"rapl: {' + '.join(name for _, name in chosen)}", lambda: sum(domain.joules() for domain in domains)
    )


class _Domain:
    """One counter in µJ, which begins again at its full range."""

    def __init__(self, zone: Path) -> None:
        self._file = zone / "energy_uj"
        self._full = int((zone / "max_energy_range_uj").read_text()) + 1
        self._last = int(self._file.read_text())
        self._spent = 0

    def joules(self) -> float:
        now = int(self._file.read_text())
        self._spent += (now - self._last) % self._full
        self._last = now
        return self._spent * 1e-6
