"""Stands in for LiteRT's `benchmark_model`, which no package has: its arguments, the file run, its way of printing.

On the phone of the tests it also draws power: each call takes 40 µJ of one rail and each second of rest 100 µJ.
"""

from __future__ import annotations

import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np


def script(phone: Path) -> str:
    """Write the program that lies on a phone of `adb_phone`."""
    return f'#!/bin/sh\nPHONE={phone} exec {sys.executable} {__file__} "$@"\n'


RAILS = Path(os.environ.get("PHONE", "/none")) / "sys/bus/iio/devices/iio:device0/energy_value"


def main() -> None:
    given = dict(argument.removeprefix("--").split("=", 1) for argument in sys.argv[1:])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    call = opened(given["graph"], int(given["num_threads"]))
    begun = time.monotonic()
    calls = timed(call, 1, float(given["warmup_min_secs"]))
    calls += timed(call, int(given["num_runs"]), float(given["min_secs"]))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"INFO: Memory footprint delta from the start of the tool (MB): init={grown / 2:g} overall={grown:g}")
    draw(40 * calls, time.monotonic() - begun)


def opened(graph: str, threads: int) -> Callable[[], object]:
    if graph.endswith(".npz"):
        with np.load(graph, allow_pickle=False) as file:
            weights = file["w"]
        example = np.ones((1, len(weights)), np.float32)
        return lambda: example @ weights
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(graph, num_threads=threads)
    interpreter.allocate_tensors()
    return interpreter.invoke


def timed(call: Callable[[], object], least: int, seconds: float) -> int:
    taken: list[float] = []
    begun = time.perf_counter()
    while len(taken) < least or time.perf_counter() - begun < seconds:
        started = time.perf_counter()
        call()
        taken.append((time.perf_counter() - started) * 1e6)
    low, high = min(taken), max(taken)
    print(
        f"INFO: count={len(taken)} first={taken[0]:.0f} curr={taken[-1]:.0f} min={low:.0f} max={high:.0f} "
        f"avg={statistics.mean(taken):g} std={statistics.pstdev(taken):.0f} p5={low:.0f} "
        f"median={statistics.median(taken):.0f} p95={high:.0f}\n"
    )
    return len(taken)


def draw(microjoules: float, seconds: float) -> None:
    if not RAILS.exists():
        return
    spent, at = (float(number) for number in RAILS.with_name("so_far").read_text().split())
    spent, at = spent + microjoules + 100 * seconds, at + seconds * 1000
    RAILS.with_name("so_far").write_text(f"{spent} {at}")
    RAILS.write_text(f"t={at:.0f}\nCH0(T={at:.0f})[VSYS_PWR_MODEM], 7\nCH3(T={at:.0f})[S2M_VDD_CPUCL2], {spent:.0f}\n")


if __name__ == "__main__":
    if sys.argv[1].startswith("--"):
        main()
    else:
        time.sleep(float(sys.argv[1]))
        draw(0, float(sys.argv[1]))
