"""The commands that run, show and take models."""

from __future__ import annotations

import json as json_module
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from autoshrink.console.given import parse_option, write_json
from autoshrink.console.live import LiveView
from autoshrink.console.printing import plain_console
from autoshrink.console.tables import measurement_table, print_front, short_conditions
from autoshrink.core import (
    AutoshrinkError,
    Candidate,
    Hardware,
    Recipe,
    Source,
    SpecError,
    Target,
    catalog_folder,
    find_document,
)
from autoshrink.search.places import Places
from autoshrink.search.store import Store, latest, store_root

if TYPE_CHECKING:
    from autoshrink.service.run import Finished

__all__ = ["apply", "demo", "front", "measure", "pick", "search"]

NO_FRONT = 3
INTERRUPTED = 130


def demo(
    folder: Path,
    *,
    candidates: int | None,
    time: str | None,
    workers: int | None,
    store: str | None,
    json: Path | None,
) -> int:
    """Put the digits example into a folder, train its model, and search."""
    console = plain_console(json)
    if not (folder / "target.yaml").exists():
        shutil.copytree(catalog_folder("examples") / "digits", folder, dirs_exist_ok=True)
        console.print(f"The digits example is now in {folder}/: model.py, data.py and target.yaml, yours to change.")
    if not (folder / "weights.safetensors").exists():
        console.print("Training an over-sized CNN on scikit-learn's digits …")
        done = subprocess.run([sys.executable, "train.py"], cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise AutoshrinkError(f"training failed:\n{done.stderr.strip()}")
        console.print(done.stdout.strip().splitlines()[-1])
    return search(
        folder / "target.yaml",
        candidates=candidates,
        time=time,
        candidate_timeout=None,
        workers=workers,
        address=None,
        name=None,
        resume=None,
        store=store,
        json=json,
    )


def search(
    path: Path | None,
    *,
    candidates: int | None,
    time: str | None,
    candidate_timeout: str | None,
    workers: int | None,
    address: str | None,
    name: str | None,
    resume: str | None,
    store: str | None,
    json: Path | None,
    artifacts: str | None = None,
    study: str | None = None,
) -> int:
    """Run or resume a search, show it while it works, and print the front."""
    root = store_root(store)
    changes: dict[str, Any] = {"candidates": candidates, "workers": workers}
    for option, given in (("time", time), ("candidate_timeout", candidate_timeout)):
        changes[option] = parse_option(f"--{option.replace('_', '-')}", given) if given else None
    if (path is None) == (resume is None):
        raise SpecError("name a target's file, such as: autoshrink search target.yaml; or --resume NAME")
    if resume is not None:
        kept = Store.open(root, resume)
        target = with_settings(kept.target(), changes)
    else:
        target = with_settings(Target.read(path), changes)  # type: ignore[arg-type]
    console = plain_console(json)
    from autoshrink.service.run import check, run  # imports Ray and Optuna: only now, when the target can be read

    check(target)
    if resume is None:
        kept = Store.create(root, target, name)
    limits = ", ".join(target.budget.to_words())
    about = f": {target.model} on {target.hardware.name}{limits and ', '}{limits}"
    console.print(Text.assemble("Search ", (kept.name, "bold"), about))
    with LiveView(console) as view:
        finished = run(target, kept, address=address, watcher=view, places=Places.given(artifacts, study))
    write_json(finished.document, json)
    print_front(console, finished.front, title=f"Front of {kept.name}", confirmed=finished.document["confirmed"])
    _next_steps(console, finished, bool(finished.front.members))
    if finished.interrupted:
        console.print(f"Interrupted; go on with: autoshrink search --resume {kept.name}")
        return INTERRUPTED
    return 0 if finished.front.members else NO_FRONT


def front(name: str | None, *, json: bool, plot: Path | None, report: list[Path], store: str | None) -> int:
    """Show the front of a past search, from its records."""
    if report:
        from autoshrink.tracking.report.compose import check_files

        check_files(report)
    from autoshrink.service.run import load_front

    kept = Store.open(store_root(store), name)
    target, found, document = load_front(kept)
    if plot is not None:
        if plot.suffix not in (".png", ".html"):
            raise SpecError(f"--plot {plot}: the file's name ends in .png or .html")
        from autoshrink.tracking.plot import plot_front

        files = {".png": None, ".html": None} | {plot.suffix: plot}
        plot_front(
            found, found.judged[0].candidate, f"{target.name} on {target.hardware.name}", files[".png"], files[".html"]
        )
    if report:
        from autoshrink.service.report import write_report

        write_report(kept, target, found, document, report)
    if json:
        print(json_module.dumps(document, indent=1))
    else:
        print_front(plain_console(), found, title=f"Front of {kept.name}", confirmed=document["confirmed"])
        tried = len(found.judged) - 1
        plain_console().print(f"{tried} candidates finished of {target.search.candidates} wanted", style="dim")
    return 0 if found.members else NO_FRONT


def pick(
    name: str | None,
    number: int | None,
    prefer: str,
    *,
    register: str | None,
    alias: str | None,
    to: Path | None,
    json: bool,
    store: str | None,
) -> int:
    """Take one candidate: by its id, or the best of the front by a preference."""
    from autoshrink.service.picking import choose
    from autoshrink.service.run import load_front

    if alias and not register:
        raise SpecError("--alias names a version of a registered model: give --register MODEL as well")
    root = store_root(store)
    if name is not None and name.isdigit() and number is None and not (root / name).is_dir():
        name, number = latest(root), int(name)
    kept = Store.open(root, name)
    target, found, document = load_front(kept)
    candidate = choose(found, number, prefer)
    console = plain_console(Path("-") if json else None)
    taken: dict[str, Any] = {"search": kept.name, "candidate": candidate.id, "recipe": candidate.recipe.describe()}
    console.print(f"Candidate {candidate.id} of {kept.name}: {candidate.recipe.describe()}", highlight=False)
    console.print(measurement_table(candidate.metrics, {"accuracy": _scores(candidate)}, ""))
    folder = kept.artifact_folder(candidate)
    if to is not None:
        from autoshrink.service.deliver import deliver

        written = deliver(target, candidate, folder, to)
        (to / "recipe.yaml").write_text(candidate.recipe.to_yaml(), encoding="utf-8")
        record = next(item for item in document["candidates"] if item["id"] == candidate.id)
        figures = {**record, "search": document["search"], "hardware": document["hardware"]}
        (to / "figures.json").write_text(json_module.dumps(figures, indent=1) + "\n", encoding="utf-8")
        shown = {f"{Path(name).parts[0]}{'/' if '/' in name else ''}" for name in written}
        console.print(f"Written to {to}/: {', '.join(sorted({*shown, 'recipe.yaml', 'figures.json'}))}")
    else:
        console.print(f"Its files: {folder}/")
    if register is not None:
        from autoshrink.tracking.register import register as register_model

        about, by = document["hardware"], prefer if number is None else ""
        picked = register_model(kept.folder, target, found, candidate, folder, register, alias, about, by)
        console.print(f"Registered as version {picked.version} of {picked.model!r}; load it with", soft_wrap=True)
        console.print(f"  {picked.line}", highlight=False, soft_wrap=True)
        taken |= {"model": picked.model, "version": picked.version, "line": picked.line}
    if to is not None or register is not None:
        kept.keep_pick(candidate.id)
    if json:
        print(json_module.dumps(taken, indent=1))
    return 0


def measure(model: Path, on: str, *, json: bool) -> int:
    """Measure one model file on one device."""
    from autoshrink.service.measure import measure_file

    hardware = Hardware.read(find_document(on, "targets", Source("--on"), ()))
    found, about = measure_file(model, hardware)
    if json:
        metrics = {name: metric.model_dump() for name, metric in found.metrics.items()}
        print(json_module.dumps({"hardware": about, "metrics": metrics, "conditions": found.conditions}, indent=1))
    else:
        plain_console().print(
            measurement_table(found.metrics, short_conditions(found.conditions), f"{model} on {hardware.name}")
        )
    return 0


def apply(path: Path, target_path: Path, *, to: Path | None, json: bool) -> int:
    """Run one recipe by itself."""
    target, recipe = Target.read(target_path), Recipe.read(path)
    from autoshrink.service.apply import apply_recipe

    applied = apply_recipe(target, recipe, to)
    if json:
        print(json_module.dumps(applied.document(), indent=1))
        return 0
    console = plain_console()
    console.print(f"{applied.recipe.describe()}", highlight=False)
    conditions = {"accuracy": applied.accuracy, "artifact": applied.artifact.key}
    console.print(measurement_table(applied.measurement.metrics, conditions, ""))
    if to is not None:
        console.print(f"Written to {to}/")
    return 0


def with_settings(target: Target, changes: Mapping[str, Any]) -> Target:
    """Put the command line's settings over the target's."""
    given = {name: value for name, value in changes.items() if value is not None}
    search = target.search.model_copy(update=given)
    changed = target.model_copy(update={"search": search})
    changed._source = target.source
    return changed


def _scores(candidate: Candidate) -> str:
    scores = candidate.accuracy.model_dump(exclude_none=True)
    return ", ".join(f"{value:.4g} on the {split} split" for split, value in scores.items())


def _next_steps(console: Console, finished: Finished, any_front: bool) -> None:
    lines = [*(f"Plot: {path}" for path in finished.plots), f"Report: {finished.report}", f"MLflow: {finished.tracked}"]
    if any_front:
        lines.append(f"Pick a model: autoshrink pick {finished.store.name} --prefer knee --to picked/")
        lines.append("Or look at it first: autoshrink ui")
    console.print()
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
