"""What the funnel is worth: this engine against a plain Optuna loop and against random search.

    python benchmarks/funnel.py                        # both examples, three seeds: an hour and a half on two cores
    python benchmarks/funnel.py --quick                # digits, one seed: five minutes
    python benchmarks/funnel.py --example digits --seeds 5

All three search the same target and space with the same workers, seeds, techniques, backend and stopwatch. The plain
loop is what one writes with Optuna in an afternoon: TPE with constraints, every candidate fully recovered, exported and
measured. The engine is given the wall time that the plain loop took for its candidates, and tries as many as it can.
Clocks start when the workers are up, and count the original model's measurement. The hypervolume is that of the front
on the validation split, in the box between ideal and limits.

It then asks for another budget: once with what the engine's search left behind, in a fraction of its time, and once
from nothing, in the same time. The docstring of `autoshrink.search.engine` says how the funnel works.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
from reporting import picture, print_table, write_json

from autoshrink.backends.registry import backend
from autoshrink.core import Accuracy, Candidate, Encoding, Limits, Measurement, Recipe, Target, catalog_folder, judge
from autoshrink.search.report import limits_for
from autoshrink.search.store import Store
from autoshrink.search.watcher import Progress
from autoshrink.search.workers import Pool, Work
from autoshrink.service.run import check, run
from autoshrink.techniques.registry import draw

CANDIDATES = {"digits": 40, "fashion_mnist": 16}
"""What the plain loop and random search try; on Fashion-MNIST, that takes them about three minutes."""
MOST = 1_000
"""Candidates of the engine, which stops when its time is over."""
OTHER_BUDGET = 0.6
"""The second search's limits, as a share of the first's."""
SECOND = 0.18
"""The time that the second search is given, as a share of the first one's; confirming its front comes on top."""

Trace = list[tuple[float, float]]
"""Seconds since the start, and the hypervolume from then on."""


@dataclass
class Outcome:
    """One search: the hypervolume over time, and the seconds until all was done, the front's confirmation included."""

    trace: Trace
    total: float
    tried: int

    @property
    def final(self) -> float:
        """The hypervolume at the end of the search."""
        return self.trace[-1][1] if self.trace else 0.0

    def reaches(self, level: float) -> float | None:
        """Give the seconds until a hypervolume is reached; None where it never is."""
        return next((seconds for seconds, volume in self.trace if volume >= level), None)


def plain_loop(target: Target, sampler: Literal["tpe", "random"], candidates: int, seed: int) -> Outcome:
    """Ask, recover fully, export, measure, tell: nothing is stopped early, nothing is used twice."""
    runtime, settings = backend(target.hardware.backend), target.search
    objectives = target.metrics

    def accepts(encoding: Encoding) -> str:
        return runtime.accepts(encoding, target.hardware)

    kinds = {"tpe": optuna.samplers.TPESampler(seed=seed), "random": optuna.samplers.RandomSampler(seed=seed)}
    directions = ["maximize" if name == "accuracy" else "minimize" for name in objectives]
    study = optuna.create_study(sampler=kinds[sampler], directions=directions)
    pool = Pool(target, settings.workers)
    begun = time.monotonic()
    try:
        original = pool.take(wait_for(pool, pool.compress(Recipe()))).result
        measured = pool.take(wait_for(pool, pool.measure(original))).result
        known = [finished(0, Recipe(), measured.measurement, measured.accuracy)]
        limits = limits_for(target, known[0])
        trace: Trace = []
        running: dict[Work, tuple[optuna.Trial, Recipe, bool]] = {}
        asked = 0
        while asked < candidates or running:
            while asked < candidates and len(running) < settings.workers:
                trial, asked = study.ask(), asked + 1
                recipe = draw(settings.space, Suggest(trial), accepts)
                running[pool.compress(recipe)] = trial, recipe, False
            for ended in pool.wait(list(running), timeout=1.0):
                trial, recipe, exported = running.pop(ended)
                answer = pool.take(ended)
                if answer.kind == "done" and not exported:
                    running[pool.measure(answer.result, original, known[0].measurement)] = trial, recipe, True
                elif answer.kind == "done":
                    known.append(finished(trial.number + 1, recipe, answer.result.measurement, answer.result.accuracy))
                    tell(study, trial, known[-1], objectives, limits)
                    trace.append((time.monotonic() - begun, judge(known, objectives, limits).hypervolume))
                else:
                    study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return Outcome(trace, time.monotonic() - begun, asked)
    finally:
        pool.close()


def tell(
    study: optuna.Study, trial: optuna.Trial, candidate: Candidate, objectives: Sequence[str], limits: Limits
) -> None:
    """Give a study the objectives of a candidate, and by how much it breaks the limits."""
    excess = limits.excess(candidate)
    for name in ("accuracy", *limits.costs):
        trial.set_constraint(name, excess.get(name, 0.0))
    accuracy = {"accuracy": candidate.accuracy.validation}
    figures = accuracy | {name: metric.value for name, metric in candidate.metrics.items()}
    study.tell(trial, [float(figures[name] or 0.0) for name in objectives])


class Suggest:
    """Lets a trial choose."""

    def __init__(self, trial: optuna.Trial) -> None:
        self._trial = trial

    def choice(self, name: str, values: Any) -> Any:
        """Suggest one of the values."""
        return self._trial.suggest_categorical(name, values)

    def range(self, name: str, interval: Any) -> Any:
        """Suggest a number."""
        if interval.whole:
            step = int(interval.step or 1)
            return self._trial.suggest_int(name, interval.low, interval.high, step=step, log=interval.log)
        return self._trial.suggest_float(name, interval.low, interval.high, step=interval.step, log=interval.log)


def finished(number: int, recipe: Recipe, measurement: Measurement, accuracy: Accuracy) -> Candidate:
    """Put a measured candidate together."""
    return Candidate(id=number, recipe=recipe, outcome="measured", measurement=measurement, accuracy=accuracy)


def wait_for(pool: Pool, work: Work) -> Work:
    """Wait for one piece of work."""
    while not pool.wait([work], timeout=1.0):
        pass
    return work


class Recorder:
    """Notes the hypervolume whenever a search tells where it is."""

    def __init__(self) -> None:
        self.trace: Trace = []
        self.tried = 0

    def update(self, progress: Progress) -> None:
        """Take notice."""
        if progress.stage == "searching" and progress.tally is not None:
            self.trace.append((progress.elapsed, progress.tally.hypervolume))
            self.tried = progress.finished


def engine(target: Target, root: Path) -> Outcome:
    """Search with the engine; what is in ``root`` from earlier searches is made use of."""
    recorder = Recorder()
    with tempfile.TemporaryDirectory() as elsewhere:
        done = run(target, Store.create(root, target), watcher=recorder, uri=f"sqlite:///{elsewhere}/mlflow.db")
    return Outcome(recorder.trace, done.document["seconds"]["total"], recorder.tried)


def with_search(target: Target, **changes: Any) -> Target:
    """Change some settings of the search."""
    return target.model_copy(update={"search": target.search.model_copy(update=changes)})


def with_budget(target: Target, share: float) -> Target:
    """Tighten every limit."""
    limits = {name: limit * share for name, limit in target.budget.limits.items() if name != "memory"}
    return target.model_copy(update={"budget": target.budget.model_copy(update=limits)})


def example(name: str, folder: Path) -> Target:
    """Copy an example, and train its model where the weights are not part of it."""
    shutil.copytree(catalog_folder("examples") / name, folder / name)
    if not (folder / name / "weights.safetensors").exists():
        subprocess.run([sys.executable, "train.py"], cwd=folder / name, check=True, capture_output=True)
    return Target.read(folder / name / "target.yaml")


def one_seed(name: str, seed: int, workers: int, candidates: int) -> dict[str, Outcome]:
    """Run everything with one seed."""
    outcomes = {}
    with tempfile.TemporaryDirectory() as folder:
        target = with_search(example(name, Path(folder)), seed=seed, workers=workers, candidates=MOST)
        check(target)
        outcomes["plain loop"] = plain_loop(target, "tpe", candidates, seed)
        outcomes["random"] = plain_loop(target, "random", candidates, seed)
        target = with_search(target, time=outcomes["plain loop"].total)
        outcomes["engine"] = engine(target, Path(folder, "first"))
        other = with_budget(target, OTHER_BUDGET)
        limited = with_search(other, time=SECOND * outcomes["engine"].total)
        outcomes["second, after the first"] = engine(limited, Path(folder, "first"))
        outcomes["second, from nothing"] = engine(other, Path(folder, "fresh"))
    return outcomes


def ratios(outcomes: dict[str, Outcome]) -> dict[str, float | None]:
    """Compare times to 95 % of the plain loop's final hypervolume, and the second search with a fresh one."""
    # A plain loop that finds nothing inside the limits sets no level but to find anything.
    level = 0.95 * outcomes["plain loop"].final or 1e-9
    own = outcomes["engine"].reaches(level)
    found: dict[str, float | None] = {}
    for other in ("plain loop", "random"):
        theirs = outcomes[other].reaches(level)
        # What never gets there would need longer than it was given.
        found[other] = (theirs or outcomes[other].total) / own if own else None
        found[f"{other} got there"] = float(theirs is not None)
    again, fresh = outcomes["second, after the first"], outcomes["second, from nothing"]
    found["second's time"] = again.total / outcomes["engine"].total
    found["second's hypervolume"] = again.final / fresh.final if fresh.final else None
    return found


def draw_traces(name: str, seeds: dict[int, dict[str, Outcome]]) -> None:
    """Draw the hypervolume over time, a panel for each seed."""
    with picture(f"funnel_{name}", f"{name}: hypervolume over wall time", len(seeds)) as panels:
        for panel, (seed, outcomes) in zip(panels, seeds.items(), strict=True):
            for label in ("engine", "plain loop", "random"):
                trace = outcomes[label].trace
                panel.step(
                    [0, *(at for at, _ in trace)], [0, *(volume for _, volume in trace)], label=label, where="post"
                )
            panel.axhline(0.95 * outcomes["plain loop"].final, color="grey", linewidth=0.7, linestyle=":")
            panel.set(xlabel="seconds", ylabel="hypervolume", title=f"seed {seed}")
            panel.legend()


def report(name: str, seeds: dict[int, dict[str, Outcome]]) -> dict[str, Any]:
    """Print what one example showed, and give it as JSON."""
    rows = [
        [f"{seed}: {label}", f"{o.total:.0f} s", o.tried, f"{o.final:.4f}"]
        for seed, outcomes in seeds.items()
        for label, o in outcomes.items()
    ]
    print_table(f"{name}: each search", ["seed", "wall time", "tried", "hypervolume"], rows)
    compared = {seed: ratios(outcomes) for seed, outcomes in seeds.items()}
    wanted = ("plain loop", "random", "second's time", "second's hypervolume")
    lines = []
    medians: dict[str, float] = {}
    for key in wanted:
        medians[key] = statistics.median(found[key] or 0.0 for found in compared.values())
        shown = [f"{value:.2f}" if value is not None else "never" for value in (f[key] for f in compared.values())]
        lines.append([key, f"{medians[key]:.2f}", ", ".join(shown)])
    note = (
        "plain loop, random: their time to 95 % of the plain loop's final hypervolume over the engine's. Who never got "
        "there counts with the whole time, so at least that; a plain loop that found nothing inside the limits counts "
        "so too, against the engine's first find; where the engine never got there, the median counts it as 0. The "
        "second search has another budget: its time over the first one's, and its hypervolume over that of a search "
        "from nothing."
    )
    print_table(f"{name}: ratios", ["ratio", "median", "by seed"], lines, note=note)
    draw_traces(name, seeds)
    searches = {
        str(seed): {label: {"trace": o.trace, "seconds": o.total, "tried": o.tried} for label, o in outcomes.items()}
        for seed, outcomes in seeds.items()
    }
    return {"medians": medians, "ratios": {str(seed): found for seed, found in compared.items()}, "searches": searches}


def main() -> None:
    """Run the examples that are asked for."""
    parser = argparse.ArgumentParser(description="The funnel against a plain Optuna loop and random search")
    parser.add_argument("--quick", action="store_true", help="digits with one seed")
    parser.add_argument("--example", choices=list(CANDIDATES), action="append")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--candidates", type=int, help="how many the plain loop and random search try")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    names = options.example or (["digits"] if options.quick else list(CANDIDATES))
    for name in names:
        seeds: dict[int, dict[str, Outcome]] = {}
        for seed in range(1 if options.quick else options.seeds):
            seeds[seed] = one_seed(name, seed, options.workers, options.candidates or CANDIDATES[name])
            write_json(f"funnel_{name}", report(name, seeds))


if __name__ == "__main__":
    main()
