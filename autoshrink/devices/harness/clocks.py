"""What the clocks of a machine show at this moment; with the standard library only."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from pathlib import Path

from . import nvml

__all__ = ["clocks"]

_BLOCK = re.compile(r"^processor\s*:\s*(\d+)$.*?^cpu MHz\s*:\s*([\d.]+)$", re.MULTILINE | re.DOTALL)


def clocks(cores: Iterable[int], *, card: str | None = None, root: Path = Path("/")) -> dict[str, object]:
    """Read the clocks of those cores, and of a graphics card; what the system does not tell is left out.

    Args:
        cores: numbers of cores.
        card: which graphics card; see `autoshrink.devices.harness.nvml`.
        root: the root of the file system.

    Returns:
        ``cores`` and ``limits``, what they may reach at the moment: Hz, by number of the core; and of the card what
        `autoshrink.devices.harness.nvml.clocks` tells.
    """
    chosen = list(cores)
    now = {**_listed(root / "proc" / "cpuinfo"), **_setting(root, chosen, "scaling_cur_freq")}
    told: dict[str, object] = {
        "cores": {str(core): now[core] for core in chosen if core in now},
        "limits": {str(core): hertz for core, hertz in _setting(root, chosen, "scaling_max_freq").items()},
    }
    known = {name: value for name, value in told.items() if value}
    return known if card is None else {**known, **nvml.clocks(card)}


def _setting(root: Path, cores: Iterable[int], name: str) -> dict[int, float]:
    found = {}
    for core in cores:
        with contextlib.suppress(OSError, ValueError):
            found[core] = int((root / f"sys/devices/system/cpu/cpu{core}/cpufreq/{name}").read_text()) * 1e3
    return found


def _listed(path: Path) -> dict[int, float]:
    """Read what x86 shows in its list of processors."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return {}
    return {int(number): round(float(megahertz) * 1e6) for number, megahertz in _BLOCK.findall(text)}
