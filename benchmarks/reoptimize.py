"""What re-optimisation is worth: other hardware, with what the first search left behind, against a search from nothing.

    python benchmarks/reoptimize.py                        # Fashion-MNIST, three seeds: over an hour on two cores
    python benchmarks/reoptimize.py --quick                # the digits, one seed, shorter searches: five minutes
    python benchmarks/reoptimize.py --example digits --change cpu-litert --seeds 5 --time "6 min"

An example's model is searched for on the profile `cpu`. Then the hardware changes: to two threads (`cpu-2`), or to
another runtime (`cpu-litert`). `autoshrink reoptimize` goes on from the first search, and a fresh search on the new
hardware begins in an empty folder with the first one's time. Compared are wall times, from when the workers are up, and
the hypervolume of the fronts as they are reported: confirmed, on the test split. The weights of the first search's
candidates are kept, so that what re-optimisation spends goes into exporting and measuring.

The example is Fashion-MNIST because of its 10,000 test images: the digits have 360, and one more of them right or wrong
is 0.3 points of accuracy, of the few that lie between the floor and the original. Fronts that are alike differ by far
more than the 2 % of hypervolume that are asked about.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reporting import print_table, write_json

from autoshrink.core import Hardware, Source, Target, catalog_folder, find_document, judge, parse_quantity
from autoshrink.search.report import blind
from autoshrink.search.store import Store
from autoshrink.service.reoptimize import reoptimize
from autoshrink.service.run import Finished, run

CHANGES = {"cpu-2": "another number of threads", "cpu-litert": "another runtime"}
EXAMPLES = ("fashion_mnist", "digits")
FIRST, QUICK = "10 min", "100 s"
"""The first search's time, and that of the search from nothing."""
MOST = 1_000
"""Candidates of a search, which stops when its time is over."""
SHARE, LEVEL = 0.10, 0.98
"""What re-optimisation may take of the first search's time, and what it shall reach of a fresh one's hypervolume."""


@dataclass
class Outcome:
    """One search."""

    seconds: float
    """From when its workers are up to its confirmed front."""
    wall: float
    """With the start of Python's and Ray's processes, and with tracking and plots."""
    tried: int
    front: int
    hypervolume: float
    """Of the front as it is reported."""
    validation: float
    """Of the front as the search saw it."""


def outcome(done: Finished, wall: float) -> Outcome:
    """Take the figures of a finished search."""
    front = done.front
    seen = judge([blind(item.candidate) for item in front.judged], front.objectives, front.limits)
    return Outcome(
        seconds=done.document["seconds"]["total"],
        wall=wall,
        tried=len(front.judged) - 1,
        front=len(front.members),
        hypervolume=front.hypervolume,
        validation=seen.hypervolume,
    )


def searched(target: Target, root: Path) -> Outcome:
    """Search from nothing."""
    begun = time.monotonic()
    done = run(target, Store.create(root, target), uri=f"sqlite:///{root}/mlflow.db")
    return outcome(done, time.monotonic() - begun)


def reoptimized(target: Target, root: Path) -> Outcome:
    """Go on from the searches in ``root``."""
    begun = time.monotonic()
    done = reoptimize(target, root, uri=f"sqlite:///{root}/mlflow.db")
    if done.finished is None:
        raise SystemExit(f"nothing changed for {target.hardware.name}: there is nothing to compare")
    return outcome(done.finished, time.monotonic() - begun)


def on(target: Target, profile: str) -> Target:
    """Give the target on other hardware."""
    hardware = Hardware.read(find_document(profile, "targets", Source("--change"), ()))
    return target.model_copy(update={"hardware": hardware})


def copied(example: str, folder: Path, seed: int, seconds: float, workers: int) -> Target:
    """Copy an example, with its trained weights."""
    place = folder / example
    shutil.copytree(catalog_folder("examples") / example, place)
    if not (place / "weights.safetensors").exists():
        subprocess.run([sys.executable, "train.py"], cwd=place, check=True, capture_output=True)
    target = Target.read(place / "target.yaml")
    settings = {"seed": seed, "time": seconds, "workers": workers, "candidates": MOST}
    return on(target.model_copy(update={"search": target.search.model_copy(update=settings)}), "cpu")


def one_seed(
    folder: Path, example: str, seed: int, seconds: float, workers: int, changes: list[str]
) -> dict[str, Outcome]:
    """Run everything with one seed."""
    target = copied(example, folder, seed, seconds, workers)
    outcomes = {"first": searched(target, folder / "first")}
    for change in changes:
        shutil.copytree(folder / "first", folder / change)
        outcomes[f"{change}: re-optimised"] = reoptimized(on(target, change), folder / change)
        outcomes[f"{change}: from nothing"] = searched(on(target, change), folder / f"{change}-fresh")
    return outcomes


def ratios(outcomes: dict[str, Outcome], change: str) -> dict[str, float | None]:
    """Compare a re-optimisation's time with the first search's, and its front with that of a search from nothing."""
    again, fresh = outcomes[f"{change}: re-optimised"], outcomes[f"{change}: from nothing"]
    return {
        "time": again.seconds / outcomes["first"].seconds,
        "wall time": again.wall / outcomes["first"].wall,
        "hypervolume": again.hypervolume / fresh.hypervolume if fresh.hypervolume else None,
        "on validation": again.validation / fresh.validation if fresh.validation else None,
    }


def report(seeds: dict[int, dict[str, Outcome]], changes: list[str]) -> dict[str, Any]:
    """Print what came out, and give it as JSON."""
    rows = [
        [f"{seed}: {label}", f"{o.seconds:.1f} s", f"{o.wall:.1f} s", o.tried, o.front, f"{o.hypervolume:.4f}"]
        for seed, outcomes in seeds.items()
        for label, o in outcomes.items()
    ]
    print_table("Each search", ["seed", "time", "with start and end", "tried", "front", "hypervolume"], rows)
    compared = {change: {seed: ratios(found, change) for seed, found in seeds.items()} for change in changes}
    lines, medians = [], {}
    for change, found in compared.items():
        medians[change] = {
            name: statistics.median(one[name] or 0.0 for one in found.values()) for name in next(iter(found.values()))
        }
        reached = sum((one["time"] or 1.0) <= SHARE and (one["hypervolume"] or 0.0) >= LEVEL for one in found.values())
        for name, median in medians[change].items():
            by_seed = ", ".join("none" if one[name] is None else f"{one[name]:.3f}" for one in found.values())
            lines.append([f"{change}: {name}", f"{median:.3f}", by_seed])
        lines.append([f"{change}: both reached", f"{reached} of {len(found)}", ""])
    note = (
        f"time: re-optimisation's over the first search's (wanted: at most {SHARE:g}); hypervolume: that of its front "
        "over that of a search from nothing on the new hardware, with the first search's time (wanted: at least "
        f"{LEVEL:g}). A search from nothing that found no front gives no ratio, and counts as 0 in the median."
    )
    print_table("Ratios", ["ratio", "median", "by seed"], lines, note=note)
    searches = {
        str(seed): {label: vars(found) for label, found in outcomes.items()} for seed, outcomes in seeds.items()
    }
    by_seed = {change: {str(seed): one for seed, one in found.items()} for change, found in compared.items()}
    return {"medians": medians, "ratios": by_seed, "searches": searches}


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description="Re-optimisation against a search from nothing on the new hardware")
    parser.add_argument("--quick", action="store_true", help="the digits, one seed, and shorter searches")
    parser.add_argument("--example", choices=EXAMPLES)
    parser.add_argument("--change", choices=list(CHANGES), action="append", help="by default cpu-2; repeatable")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--time", help=f'the first search\'s, by default "{FIRST}"')
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where the searches stay, to be looked at")
    options = parser.parse_args()
    seconds = parse_quantity(options.time or (QUICK if options.quick else FIRST), "s")
    example = options.example or ("digits" if options.quick else EXAMPLES[0])
    changes = options.change or [next(iter(CHANGES))]
    seeds: dict[int, dict[str, Outcome]] = {}
    for seed in range(1 if options.quick else options.seeds):
        with tempfile.TemporaryDirectory(prefix="autoshrink-reoptimize-") as place:
            folder = options.keep / f"seed-{seed}" if options.keep else Path(place)
            seeds[seed] = one_seed(folder.absolute(), example, seed, seconds, options.workers, changes)
        write_json("reoptimize", report(seeds, changes))


if __name__ == "__main__":
    main()
