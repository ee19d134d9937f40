"""Modelled cycles against published ones: ``python benchmarks/mcu_cycles.py``.

Two tables. *Same code*: C that bakenn 1.0.0 makes, whose cycles on an nRF52840 are published; it is fetched from PyPI
into a folder that is thrown away. The first ratio is with the profile as it stands, in which nothing is fitted; the
second with the flash's wait states fitted to the other programs. *Same network*: MLPerf Tiny's networks in autoshrink's
code, against what other runtimes were published with on that core; where a core has a factor, it is the one that is
fitted without the network in question.
"""

from __future__ import annotations

import csv
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mcu_mlperf import MACS, graph

from autoshrink.backends.cortex_m.boards import Board, read_board
from autoshrink.backends.cortex_m.cycles import Cycles, estimate
from autoshrink.backends.cortex_m.emulate import run
from autoshrink.backends.cortex_m.generate import generate
from autoshrink.backends.cortex_m.timings import TIMINGS
from autoshrink.backends.cortex_m.toolchain import build
from autoshrink.core import Hardware, catalog_folder

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Published:
    """One published figure."""

    kind: str
    network: str
    profile: str
    core: str
    software: str
    cycles: int
    source: str


def published() -> list[Published]:
    """Read every published figure."""
    with (HERE / "mcu_published.csv").open(encoding="utf-8", newline="") as file:
        return [Published(**(row | {"cycles": int(row["cycles"])})) for row in csv.DictReader(file)]


def board(profile: str) -> Board:
    """Read a profile's board."""
    return read_board(Hardware.read(catalog_folder("targets") / f"{profile}.yaml"))


def bakenn_cycles(folder: Path) -> dict[str, Cycles]:
    """Fetch bakenn, let it write its programs, and model each on the nRF52840."""
    packages, sources = folder / "packages", folder / "sources"
    pip = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--target", str(packages), "bakenn==1.0.0"]
    subprocess.run(pip, check=True)
    start = f"import sys; sys.path.append({str(packages)!r}); sys.argv = ['', {str(sources)!r}]; import runpy; "
    start += f"runpy.run_path({str(HERE / 'mcu_bakenn.py')!r}, run_name='__main__')"
    said = subprocess.run([sys.executable, "-c", start], check=True, capture_output=True, text=True).stdout
    rows = (line.split() for line in said.splitlines())
    return {name: _one_program(sources / name, np.full((1, *map(int, shape)), zero)) for name, zero, *shape in rows}


def _one_program(folder: Path, inputs: np.ndarray) -> Cycles:
    include = [folder, *folder.rglob("Include")]
    flags = ("-O2", "-DBAKENN_CMSIS_NN_BUILTIN_MEMORY")
    firmware = build(sorted(folder.rglob("*.c")), board("nrf52840"), folder, include, flags)
    return estimate(firmware, run(firmware, inputs.astype(np.int8)))


def fitted_wait(cycles: Mapping[str, Cycles], known: Mapping[str, int], without: str, wait: float) -> float:
    """Fit the wait states of a flash access to all programs but one."""
    others = [name for name in cycles if name != without]
    return wait * sum(known[n] - cycles[n].core for n in others) / sum(cycles[n].flash for n in others)


def fitted_factor(core: str, without: str = "") -> float:
    """Fit a core's factor: cycles of the same software and network on it and on a Cortex-M4 (geometric mean)."""
    figures = [p for p in published() if p.kind == "same network" and p.network != without]
    pairs = [
        math.log(mine.cycles / base.cycles)
        for mine in figures
        for base in figures
        if (mine.core, base.core) == (core, "cortex-m4") and _same_program(mine, base)
    ]
    return math.exp(sum(pairs) / len(pairs))


def _same_program(one: Published, other: Published) -> bool:
    return (one.network, one.software) == (other.network, other.software)


def same_code(folder: Path) -> Iterator[tuple[Published, float, float]]:
    """Give each published program with its predicted cycles: as the profile stands, and fitted to the others."""
    known = {p.network: p for p in published() if p.kind == "same code"}
    cycles = bakenn_cycles(folder)
    wait = board("nrf52840").flash_access.wait
    for name, figure in known.items():
        other = fitted_wait(cycles, {n: p.cycles for n, p in known.items()}, name, wait)
        yield figure, cycles[name].value, cycles[name].core + cycles[name].flash * other / wait


@dataclass(frozen=True)
class Compared:
    """One network on one core: what is predicted, and the least and the most that was published."""

    network: str
    profile: str
    core: str
    instructions: int
    predicted: float
    fastest: Published
    slowest: Published
    seconds: float
    """To build, emulate and model it."""

    @property
    def verdict(self) -> str:
        """Whether it is between 0.8 times the fastest and 1.25 times the slowest, or our code is faster or slower."""
        if self.predicted < 0.8 * self.fastest.cycles:
            return "faster"
        return "slower" if self.predicted > 1.25 * self.slowest.cycles else "inside"


PROFILES = ("stm32l4r5", "stm32u585", "stm32h743", "stm32g0b1")
"""One board of each core that has published figures."""


def same_network(folder: Path, profiles: Sequence[str] = PROFILES) -> Iterator[Compared]:
    """Give MLPerf Tiny's networks on some boards."""
    for network in ("ds_cnn", "resnet8"):
        made = graph(network)
        for profile in profiles:
            target = board(profile)
            figures = sorted(
                (p for p in published() if (p.network, p.core) == (network, target.core)), key=lambda p: p.cycles
            )
            started = time.perf_counter()
            code = generate(made, folder / f"{network}_{profile}", core=target.core)
            firmware = build(code.sources, target, folder, [code.include])
            emulated = run(firmware, np.zeros((1, made.tensors[made.inputs[0]].size), np.int8))
            cycles = estimate(firmware, emulated)
            seconds = time.perf_counter() - started
            factor = TIMINGS[target.core].factor
            refitted = fitted_factor(target.core, network) / factor if factor != 1 else 1.0
            predicted = cycles.core * refitted + cycles.flash
            names = (network, profile, target.core, emulated.instructions)
            yield Compared(*names, predicted, figures[0], figures[-1], seconds)


def main() -> int:
    """Print both tables; gives the number of figures outside their range."""
    outside = 0
    print(f"{'same code':16}{'core':15}{'published':>12}{'predicted':>12}{'ratio':>8}{'fitted':>8}")
    with tempfile.TemporaryDirectory(prefix="autoshrink-") as folder:
        for figure, predicted, fitted in same_code(Path(folder)):
            ratio, other = predicted / figure.cycles, fitted / figure.cycles
            outside += not (0.9 <= ratio <= 1.1 and 0.9 <= other <= 1.1)
            print(f"{figure.network:16}{figure.core:15}{figure.cycles:12,}{predicted:12,.0f}{ratio:8.3f}{other:8.3f}")
    print(f"\n{'same network':16}{'board':12}{'instructions':>13}{'predicted':>11}{'published':>26}", end="")
    print(f"{'cycles/MAC':>27}{'seconds':>9}")
    with tempfile.TemporaryDirectory(prefix="autoshrink-") as folder:
        for row in same_network(Path(folder)):
            outside += row.verdict != "inside"
            span = f"{row.fastest.cycles / 1e6:.1f} ({row.fastest.software}) to {row.slowest.cycles / 1e6:.1f} M"
            per_mac = f"{row.predicted / MACS[row.network]:.1f}"
            print(
                f"{row.network:16}{row.profile:12}{row.instructions / 1e6:11.2f} M{row.predicted / 1e6:9.1f} M"
                f"  {span:32}{row.verdict:8}{per_mac:>11}{row.seconds:9.1f}"
            )
    return outside


if __name__ == "__main__":
    sys.exit(min(1, main()))
