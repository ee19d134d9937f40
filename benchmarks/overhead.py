"""What the engine itself costs: seconds and memory a candidate, and how busy it keeps many workers.

    python benchmarks/overhead.py [--quick]

The real engine (sampler, store, cache, tracking to an SQLite MLflow, display) with work that is only simulated:

1. Up to 10,000 candidates whose work takes no time: all that passes is the engine's. *Engine* is wall time a candidate
   around each count (its last tenth, 100 at least), *counted* what the search itself reports as ``seconds.engine``,
   *CPU* the processor time of all threads, tracking among them; *memory* is how much the driver's grew since the count
   before, a candidate.
2. Ray workers on simulated nodes (`ray.cluster_utils.Cluster`, eight to a node, all on this machine) that sleep for
   4 to 15 s a candidate. *Efficiency* is the share of a window of time that the workers were asleep, that is, at work.

The issue asks for at most 50 ms a candidate at 100 and 100 ms at 10,000, less than 5 kB of memory a candidate, and an
efficiency of 0.9 with 64 workers. About 20 minutes; `--quick` stops at 1,000 candidates and takes three worker counts.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
from overhead_work import SECONDS, Instant, Sleeping, accepts, cluster, folder_size, target
from reporting import picture, print_table, write_json

from autoshrink.search.cache import Cache
from autoshrink.search.engine import search
from autoshrink.search.nodes import device_resource
from autoshrink.search.reuse import Reuse
from autoshrink.search.session import Session
from autoshrink.search.store import Store
from autoshrink.search.watcher import Progress
from autoshrink.tracking.tracker import Tracker

MARKS = (100, 1_000, 10_000)
SPAN = 100
"""Candidates, at least, that a count is looked at over."""
_LOADING, _SETTLED = 50, 10.0
"""Candidates of the search that loads everything, and the seconds after it."""
LIMITS = {100: 0.050, 10_000: 0.100}
MEMORY, EFFICIENCY = 5_000, 0.9
"""What is aimed at: s a candidate by count, bytes a candidate, share of the workers' time."""


@dataclass(frozen=True)
class Cost:
    """What the engine took around one count of candidates."""

    candidates: int
    engine: float
    counted: float
    cpu: float
    memory: float
    """Bytes a candidate since the count before."""
    disk: float
    """Bytes a candidate in the search's folder."""


@dataclass(frozen=True)
class Busy:
    """How busy a number of workers was."""

    workers: int
    efficiency: float
    throughput: float
    """Candidates that were finished, a second."""
    engine: float
    """The driver's processor time, as a share of the window."""


@dataclass
class Meter:
    """A watcher that looks at clock and memory whenever a candidate is finished."""

    search: Any = None
    folder: Path = Path()
    costs: list[Cost] = field(default_factory=list)
    searching: float = 0.0
    """When the first candidate was drawn."""

    def __post_init__(self) -> None:
        self._seen: dict[int, tuple[float, float, float]] = {}
        self._memory = 0
        self._mark = 0

    def update(self, progress: Progress) -> None:
        """Note down where the time went."""
        if progress.stage != "searching":
            return
        if not self.searching:
            self.searching, self._memory = time.time(), _memory()
        finished = progress.finished
        if finished in self._seen:
            return
        counted = self.search.clock.totals()["engine"]
        self._seen[finished] = time.perf_counter(), counted, time.process_time()
        mark = next((mark for mark in MARKS if self._mark < mark <= finished), None)
        if mark is not None:
            before = max((count for count in self._seen if count <= finished - max(finished // 10, SPAN)), default=0)
            steps = finished - before
            engine, own, cpu = (b - a for a, b in zip(self._seen[before], self._seen[finished], strict=True))
            memory = _memory()
            grown = (memory - self._memory) / (finished - self._mark)
            disk = folder_size(self.folder) / finished
            self.costs.append(Cost(mark, engine / steps, own / steps, cpu / steps, grown, disk))
            self._memory, self._mark = memory, finished
            print(f"  {self.costs[-1]}", flush=True)


def cost_of(candidates: int, root: Path) -> list[Cost]:
    """Run a search whose work takes no time, after a short one that loads what is loaded once."""
    _instant(_LOADING, root, Meter())
    time.sleep(_SETTLED)  # the tracking has its own thread
    meter = Meter()
    _instant(candidates, root, meter)
    return meter.costs


def _instant(candidates: int, root: Path, meter: Meter) -> None:
    goal = target(candidates, workers=8)
    store = Store.create(root, goal)
    store.write_json("hardware.json", {"key": "here"})  # what a search knows of its device before it begins
    tracker = Tracker(store.folder, goal, store.name, f"sqlite:///{root}/mlflow.db")
    session = Session(goal, store, _reuse(root, str(candidates)), Instant(), tracker, meter)  # type: ignore[arg-type]
    meter.search, meter.folder = session, store.folder
    search(session, accepts)


def busy(workers: int, seconds: float, root: Path) -> Busy:
    """Run a search on sleeping workers, and look at a window of time after it has begun."""
    lead = sum(SECONDS.values())
    goal = target(1_000_000, workers)
    with cluster(workers, device_resource(goal.hardware)) as address:
        pool = Sleeping(goal, workers, address)
        pool.start(workers)
        store = Store.create(root, goal)
        meter = _Window(lead, seconds)
        session = Session(goal, store, _reuse(root, f"asleep-{workers}"), pool, _Untracked(), meter)
        with suppress(_Enough):
            search(session, accepts)
        pool.rest()
        asleep = pool.naps.between(meter.begin, meter.end)
        pool.close()
    return Busy(workers, asleep / (workers * seconds), meter.finished / seconds, meter.cpu / seconds)


class _Enough(Exception):
    """The window is over."""


class _Window:
    """A watcher that knows when the window begins and ends."""

    def __init__(self, lead: float, seconds: float) -> None:
        self._lead, self._seconds = lead, seconds
        self.begin = self.end = self.cpu = 0.0
        self.finished = 0
        self._before = (0, 0.0)

    def update(self, progress: Progress) -> None:
        """Note down what was finished when."""
        now = time.time()
        if progress.stage == "searching" and not self.begin:
            self.begin, self.end = now + self._lead, now + self._lead + self._seconds
        if now <= (self.begin or now):
            self._before = progress.finished, time.process_time()
        else:
            self.finished = progress.finished - self._before[0]
            self.cpu = time.process_time() - self._before[1]
        if self.begin and now > self.end:
            raise _Enough


class _Untracked:
    def start(self, fingerprint: object, baseline: object, limits: object) -> None: ...

    def log(self, candidate: object) -> None: ...


def _reuse(root: Path, model: str) -> Reuse:
    return Reuse(Cache(root, model), "here", 0)


def _memory() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def report(costs: list[Cost], busiest: list[Busy], *, quick: bool) -> None:
    """Print the tables, write the figures and draw them."""
    rows = [
        (
            f"{cost.candidates:,}",
            f"{1e3 * cost.engine:.1f} ms",
            f"{1e3 * cost.counted:.1f} ms",
            f"{1e3 * cost.cpu:.1f} ms",
            f"{cost.memory / 1e3:.1f} kB",
            f"{cost.disk / 1e3:.1f} kB",
            f"≤ {1e3 * LIMITS[cost.candidates]:.0f} ms" if cost.candidates in LIMITS else "",
        )
        for cost in costs
    ]
    columns = ("candidates", "engine", "counted", "CPU", "memory", "disk", "aimed at")
    print_table("What the engine costs a candidate", columns, rows, note="memory aimed at: < 5 kB a candidate")
    shares = [
        (item.workers, f"{item.efficiency:.3f}", f"{item.throughput:.2f}/s", f"{item.engine:.0%}") for item in busiest
    ]
    note = f"aimed at: ≥ {EFFICIENCY} at 64"
    print_table("How busy Ray workers are", ("workers", "efficiency", "candidates", "driver's CPU"), shares, note=note)
    figures = {
        "quick": quick,
        "seconds": SECONDS,
        "engine": list(map(asdict, costs)),
        "workers": list(map(asdict, busiest)),
    }
    print(f"written: {write_json('overhead', figures)}")
    with picture("overhead", "What the engine costs", 2) as (left, right):
        left.plot([cost.candidates for cost in costs], [1e3 * cost.engine for cost in costs], marker="o")
        left.set(xscale="log", xlabel="candidates", ylabel="engine, ms a candidate", ylim=(0, None))
        right.plot([item.workers for item in busiest], [item.efficiency for item in busiest], marker="o")
        right.axhline(EFFICIENCY, linestyle=":", color="gray")
        right.set(xscale="log", xlabel="Ray workers", ylabel="efficiency", ylim=(0, 1.05))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="1,000 candidates, three worker counts")
    quick = parser.parse_args().quick
    counts, window = ((1, 8, 64), 20.0) if quick else ((1, 2, 4, 8, 16, 32, 64), 40.0)
    with tempfile.TemporaryDirectory(prefix="autoshrink-overhead-") as folder:
        costs = cost_of(MARKS[1] if quick else MARKS[2], Path(folder))
        busiest = [busy(count, window, Path(folder)) for count in counts]
    report(costs, busiest, quick=quick)


if __name__ == "__main__":
    main()
