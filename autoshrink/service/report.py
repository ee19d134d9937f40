"""The report of a search, written from its records and from what can be found out about one candidate."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from autoshrink import __version__
from autoshrink.core import Candidate, Front, Setting, Target, write_quantity
from autoshrink.search.store import DEFAULT_ROOT, Store
from autoshrink.service.evidence import evidence_of
from autoshrink.techniques.base import Stage
from autoshrink.techniques.registry import technique
from autoshrink.tracking.report.compose import check_files, write_files
from autoshrink.tracking.report.material import Chosen, Evidence, Material

__all__ = ["write_report"]


def write_report(
    store: Store,
    target: Target,
    front: Front,
    document: Mapping[str, Any],
    files: Sequence[Path],
    *,
    picture: Path | None = None,
    thorough: bool = True,
) -> None:
    """Write the report of a search, for people who never saw this program.

    It describes the candidate that was picked last, else the front's best compromise, else what comes nearest to the
    limits.

    Args:
        store: the search's.
        target: what was searched for.
        front: all candidates, judged.
        document: the search as `autoshrink.search.report.report` writes it.
        files: what to write: ``.html`` is one page that is complete in itself, ``.md`` is Markdown.
        picture: the front's picture (PNG), where it is drawn already.
        thorough: whether to run files on the device and to build a model again where something is not kept; without it
            the report says how to get what is missing.

    Raises:
        SpecError: a file's name ends otherwise, or it can't be written.
    """
    check_files(files)
    chosen = _chosen(store, front)
    evidence = Evidence("No candidate was measured.", weights="No candidate was measured.")
    if chosen is not None:
        evidence = evidence_of(store, target, chosen.candidate, front.judged[0].candidate, thorough=thorough)
    material = Material(
        search=store.name,
        target=target,
        front=front,
        confirmed=document["confirmed"],
        hardware=document["hardware"],
        seconds=document["seconds"],
        chosen=chosen,
        evidence=evidence,
        lender=_lender(chosen.candidate, front) if chosen is not None else None,
        place=str(_place(store)),
        commands=tuple(_commands(store, target, chosen)),
        version=__version__,
        made=f"{datetime.now():%Y-%m-%d %H:%M}",
    )
    write_files(material, files, picture)


def _chosen(store: Store, front: Front) -> Chosen | None:
    known = {item.candidate.id: item.candidate for item in front.judged}
    picked = known.get(number) if (number := store.picked()) is not None else None
    if picked is not None and picked.artifact is not None:
        return Chosen(picked, "which was picked")
    knee = front.knee()
    if knee is not None and knee.id != 0:
        return Chosen(knee, "the knee of the front (its best compromise), as none was picked yet")
    others = front.model_copy(update={"judged": tuple(item for item in front.judged if item.candidate.id)})
    second = others.knee()
    if second is not None:
        return Chosen(second, "the best compromise beside the original model itself, as none was picked yet")
    if knee is not None:
        return Chosen(knee, "the original model: nothing else is on the front")
    nearest = front.nearest_miss()
    return None if nearest is None else Chosen(nearest, "which comes nearest to the limits and breaks at least one")


def _lender(candidate: Candidate, front: Front) -> Candidate | None:
    """Find whose training gave a candidate its weights: one training serves every number format of a structure."""
    lesson = _lesson(candidate)
    if lesson is None:
        return None
    others = [item.candidate for item in front.judged if item.candidate.seconds.get("train", 0.0) and item.candidate.id]
    alike = [other for other in others if _lesson(other) == lesson]
    most = max(alike, key=lambda other: other.seconds["train"], default=candidate)
    own = candidate.seconds.get("train", 0.0)
    return most if most.id != candidate.id and most.seconds["train"] > 2 * own else None


def _lesson(candidate: Candidate) -> tuple[Setting, ...] | None:
    """Give a candidate's steps up to its recovery; None for one without."""
    steps = tuple(step for step in candidate.recipe.steps if technique(step.kind).stage <= Stage.RECOVERY)
    return steps if any(technique(step.kind).stage is Stage.RECOVERY for step in steps) else None


def _place(store: Store) -> Path:
    return store.folder.resolve().parents[1]


def _commands(store: Store, target: Target, chosen: Chosen | None) -> Iterator[tuple[str, str]]:
    root, search = store.folder.parent.resolve(), target.search
    elsewhere = [] if root.name == DEFAULT_ROOT else ["--store", str(root)]
    path = (target.source.folder / Path(target.source.name).name).resolve()
    file = shlex.quote(str(path.relative_to(_place(store)) if path.is_relative_to(_place(store)) else path))

    def command(*words: str) -> str:
        return shlex.join(["autoshrink", *words])

    settings = ["--candidates", str(search.candidates), "--workers", str(search.workers)]
    if search.time is not None:
        settings += ["--time", write_quantity(search.time, "s")]
    yield "the search again", f"autoshrink search {file} {shlex.join([*settings, *elsewhere])}"
    yield "its front", command("front", store.name, *elsewhere)
    if chosen is not None and chosen.candidate.artifact is not None:
        number = str(chosen.candidate.id)
        yield (
            "this model's files, recipe and figures",
            command("pick", store.name, number, "--to", "picked", *elsewhere),
        )
        yield "makes and measures it anew", f"autoshrink apply picked/recipe.yaml {file} --to again"
    yield "this report", command("front", store.name, "--report", "report.html", *elsewhere)
