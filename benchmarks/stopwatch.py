"""The same 12 artifacts measured on a quiet machine and while two workers train: does the training choose the winner?

    python benchmarks/stopwatch.py [--quick] [--json]

Each artifact is measured as a search measures its candidates (in turn with the example's original model, whose quiet
latency is known), first with nothing else running, then with as many workers training as the machine has cores; the
whole is done twice. *Deviation* is the latency under load against the quiet one of the same round. *Plain* compares
the medians of all calls, without a reference and without judging blocks: what a simple timing loop gives. The quiet
figures need a quiet machine: where somebody else disturbs them they are taken again, up to five times, and the table
says where that didn't help. Under load every figure is the first one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reporting import picture, print_table, write_json
from scipy.stats import spearmanr  # type: ignore[import-untyped]
from stopwatch_models import Made, make_artifacts, make_references

from autoshrink.backends.measuring import measure
from autoshrink.backends.registry import backend
from autoshrink.core import Hardware, Measurement, catalog_folder
from autoshrink.devices.registry import device

HERE = Path(__file__).resolve().parent
MEDIAN, WORST, RANKING = 0.03, 0.10, 0.97
"""What is aimed at under load."""
TRIES = 5
"""How often an artifact is measured on the quiet machine until the stopwatch finds that it was quiet."""
SLOW_HOST = 1.2
"""A neighbour was busy on the host at the start if the fixed work took so much longer then than later."""


@dataclass(frozen=True)
class Timed:
    """One artifact, quiet and under load, in s."""

    name: str
    round: int
    quiet: float
    loaded: float
    plain_quiet: float
    plain_loaded: float
    was_quiet: bool
    """Whether the machine was quiet when it should be."""
    judged: bool
    """Whether enough undisturbed blocks were found under load."""
    meet: bool
    """Whether the bands of both overlap."""
    seconds: float
    """What the stopwatch took under load."""

    @property
    def deviation(self) -> float:
        """Under load against quiet, relative."""
        return self.loaded / self.quiet - 1

    @property
    def plain_deviation(self) -> float:
        """The same for the median of all calls."""
        return self.plain_loaded / self.plain_quiet - 1


@dataclass(frozen=True)
class Summary:
    """One round over all artifacts."""

    median: float
    worst: float
    ranking: float
    """Spearman's correlation of the latencies."""
    meet: float
    """Share of the artifacts whose bands overlap."""
    plain_median: float
    plain_worst: float
    plain_ranking: float

    @property
    def reached(self) -> bool:
        """Whether the round is as good as is aimed at."""
        return self.median <= MEDIAN and self.worst <= WORST and self.ranking >= RANKING


def summarize(timed: Sequence[Timed]) -> Summary:
    """Compare the artifacts of a round, quiet and under load."""

    def figures(quiet: str, loaded: str) -> tuple[float, float, float]:
        before, after = (np.array([getattr(item, name) for item in timed]) for name in (quiet, loaded))
        deviation = np.abs(after / before - 1)
        return float(np.median(deviation)), float(deviation.max()), float(spearmanr(before, after).statistic)

    meet = float(np.mean([item.meet for item in timed]))
    return Summary(*figures("quiet", "loaded"), meet, *figures("plain_quiet", "plain_loaded"))


class Stopwatch:
    """Measures artifacts as a search does, against references that were measured on the quiet machine."""

    def __init__(self, hardware: Hardware, references: dict[str, Made]) -> None:
        self._hardware, self._references = hardware, references
        self._originals: dict[str, Measurement] = {}
        self._originals = {name: self(made) for name, made in references.items()}
        self.least = min(self.canaries)

    @property
    def canaries(self) -> list[float]:
        """Times of the fixed work beside the references, in ns."""
        return [float(original.conditions["canary"]) for original in self._originals.values()]

    @property
    def slow_at_first(self) -> bool:
        """Whether the machine was slow when the references were measured."""
        return max(self.canaries) > SLOW_HOST * self.least

    def __call__(self, made: Made) -> Measurement:
        """Measure one artifact; the reference itself alone, as a search does at its start."""
        reference, original = self._references[made.reference], self._originals.get(made.reference)
        measured = measure(
            backend(self._hardware.backend),
            device(self._hardware),
            self._hardware,
            made.folder,
            made.artifact,
            made.example,
            reference=(reference.folder, reference.artifact) if original else None,
            reference_latency=original.metrics["latency"] if original else None,
            canary=original.conditions["canary"] if original else None,
            wants=["latency"],
        )
        if original:
            self.least = min(self.least, measured.measurement.conditions["canary"])
        return measured.measurement


@contextlib.contextmanager
def workers(count: int) -> Iterator[list[int]]:
    """Start training workers and hold them; gives their process ids."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # as Ray gives a worker of one core
    command = [sys.executable, str(HERE / "stopwatch_load.py")]
    running = [
        subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE, text=True, env=environment)
        for number in range(count)
    ]
    try:
        for process in running:
            if process.stdout is None or process.stdout.readline().strip() != "ready":
                raise RuntimeError("a training worker ended before it began; its message is above")
            os.kill(process.pid, signal.SIGSTOP)
        yield [process.pid for process in running]
    finally:
        for process in running:
            process.kill()
            process.wait()


@contextlib.contextmanager
def training(pids: Sequence[int]) -> Iterator[None]:
    """Let the held workers train for a while."""
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)


def compare(stopwatch: Stopwatch, artifacts: Sequence[Made], pids: Sequence[int], number: int) -> list[Timed]:
    """Measure every artifact quiet, then every artifact under load."""
    quiet = [_quiet(stopwatch, made) for made in artifacts]
    with training(pids):
        loaded = [stopwatch(made) for made in artifacts]
    return [_timed(made.name, number, *pair) for made, *pair in zip(artifacts, quiet, loaded, strict=True)]


def _quiet(stopwatch: Stopwatch, made: Made) -> Measurement:
    for _ in range(TRIES):
        measurement = stopwatch(made)
        if measurement.conditions["quiet"]:
            break
    return measurement


def _timed(name: str, number: int, quiet: Measurement, loaded: Measurement) -> Timed:
    truth, found = quiet.metrics["latency"], loaded.metrics["latency"]
    return Timed(
        name=name,
        round=number,
        quiet=truth.value,
        loaded=found.value,
        plain_quiet=quiet.conditions["median"],
        plain_loaded=loaded.conditions["median"],
        was_quiet=quiet.conditions["quiet"],
        judged=loaded.conditions["quiet"],
        meet=found.low <= truth.high and truth.low <= found.high,
        seconds=loaded.conditions["seconds"]["latency"],
    )


def show(rounds: Sequence[Sequence[Timed]], summaries: Sequence[Summary], slow_at_first: bool) -> None:
    """Print a table of the artifacts and one of the rounds."""
    rows = [
        [
            first.name,
            *(f"{item.quiet * 1e6:.1f} µs{'' if item.was_quiet else '!'}" for item in found),
            *(f"{item.deviation:+.1%}{'' if item.judged else '!'}" for item in found),
            *(f"{item.plain_deviation:+.1%}" for item in found),
            f"{max(item.seconds for item in found):.1f} s",
        ]
        for first, *rest in zip(*rounds, strict=True)
        for found in [[first, *rest]]
    ]
    times = range(1, len(rounds) + 1)
    columns = [f"{what} {number}" for what in ("quiet", "under load", "plain") for number in times]
    note = "!: the stopwatch itself says that the machine was never quiet"
    if slow_at_first:
        note += "\nTHE HOST WAS SLOW when the references were measured: repeat the run"
    print_table("The stopwatch under load", ["artifact", *columns, "takes"], rows, note=note)
    rows = [
        [
            f"round {number}",
            *_figures(s.median, s.worst, s.ranking),
            "yes" if s.reached else "NO",
            f"{s.meet:.0%}",
            *_figures(s.plain_median, s.plain_worst, s.plain_ranking),
        ]
        for number, s in zip(times, summaries, strict=True)
    ]
    aim = f"median ≤ {MEDIAN:.0%}, worst ≤ {WORST:.0%}, Spearman ≥ {RANKING}"
    columns = ["median", "worst", "Spearman", "reached", "bands meet", "plain median", "worst", "Spearman"]
    print_table(f"Deviation under load (aim: {aim})", ["", *columns], rows)


def _figures(median: float, worst: float, ranking: float) -> list[str]:
    return [f"{median:.1%}", f"{worst:.1%}", f"{ranking:.3f}"]


def draw(rounds: Sequence[Sequence[Timed]]) -> None:
    """Draw the deviations over the latency."""
    with picture("stopwatch", "Latency while two workers train, against the quiet machine") as [panel]:
        for number, timed in enumerate(rounds):
            latency = [item.quiet * 1e6 for item in timed]
            plain = [item.plain_deviation * 100 for item in timed]
            panel.plot(latency, plain, "x", color="0.6", label="" if number else "plain loop")
            own = [item.deviation * 100 for item in timed]
            panel.plot(latency, own, "o", color=f"C{number}", label=f"stopwatch, round {number + 1}")
        panel.axhspan(-100 * WORST, 100 * WORST, color="C2", alpha=0.15)
        panel.set(xscale="log", ylim=(-30, 50), xlabel="latency, µs", ylabel="deviation under load, %")
        panel.legend()


def main() -> int:
    """Run the benchmark; gives 1 when a round misses what is aimed at."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round instead of two")
    parser.add_argument("--json", action="store_true", help="print the document instead of tables")
    options = parser.parse_args()
    torch.set_num_threads(1)
    hardware = Hardware.read(catalog_folder("targets") / "cpu.yaml")
    with tempfile.TemporaryDirectory(prefix="autoshrink-stopwatch-") as scratch:
        references = make_references(Path(scratch), hardware)
        artifacts = list(make_artifacts(Path(scratch), hardware))
        with workers(os.cpu_count() or 2) as pids:
            stopwatch = Stopwatch(hardware, references)
            rounds = [compare(stopwatch, artifacts, pids, number) for number in range(1 if options.quick else 2)]
    summaries = [summarize(timed) for timed in rounds]
    figures: dict[str, Any] = {
        "aim": {"median": MEDIAN, "worst": WORST, "spearman": RANKING},
        "canary": {
            "references": stopwatch.canaries,
            "least": stopwatch.least,
            "slow_at_first": stopwatch.slow_at_first,
        },
        "rounds": [{**asdict(s), "reached": s.reached} for s in summaries],
        "artifacts": [{**asdict(item), "deviation": item.deviation} for timed in rounds for item in timed],
    }
    path = write_json("stopwatch", figures)
    draw(rounds)
    if options.json:
        print(json.dumps(figures, indent=1))
    else:
        show(rounds, summaries, stopwatch.slow_at_first)
        print(f"figures and picture: {path} and .png")
    return int(not all(s.reached for s in summaries))


if __name__ == "__main__":
    sys.exit(main())
