"""A search again, because the hardware changed: what is known is measured anew, and the search goes on from there."""

from __future__ import annotations

import datetime
import fcntl
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoshrink.backends.changes import changes
from autoshrink.backends.measuring import fingerprint
from autoshrink.backends.registry import backend
from autoshrink.core import Front, SpecError, Target, content_key
from autoshrink.search.engine import Again
from autoshrink.search.lineage import Known, Reoptimization, earlier_candidates, model_of, searches_of
from autoshrink.search.nodes import place_of
from autoshrink.search.report import front_of
from autoshrink.search.store import Store
from autoshrink.search.watcher import Watcher
from autoshrink.search.work import workload_of
from autoshrink.service.run import Finished, check, run
from autoshrink.service.succession import drift, succeed
from autoshrink.tracking.champions import Champion, champions

__all__ = ["Reoptimized", "reoptimize"]

_SHARE, _SHARE_ALONE = 0.055, 0.085
"""Of the first search's time, for measuring again and searching on. What is measured beside exports is confirmed on top
of that; where the files serve as they are, it is measured alone, and that is it."""


@dataclass(frozen=True)
class Reoptimized:
    """What one visit gave."""

    earlier: Store
    before: Front
    document: dict[str, Any]
    """What ``--json`` prints."""
    finished: Finished | None = None
    """The new search; None where nothing had changed."""


def reoptimize(
    target: Target,
    root: Path,
    *,
    time: float | None = None,
    force: bool = False,
    watcher: Watcher | None = None,
    uri: str | None = None,
) -> Reoptimized:
    """Look whether the hardware or a champion changed since a target's last search, and if so search from there.

    A re-optimisation that was cut off is gone on with.

    Args:
        target: as it is declared today.
        root: the folder that holds all searches.
        time: seconds to search on for when the earlier candidates are measured; by default a small share of what the
            first search took.
        force: whether to do so even if nothing changed.
        watcher: is told of every step.
        uri: MLflow's tracking address, by default MLflow's own default.

    Raises:
        SpecError: the target is wrong, was never searched for, has another model or other data now, or is being
            re-optimised by another process.
        BackendUnavailable: the runtime is not installed.
        DeviceError: the device can't be reached; the next visit goes on.
        AutoshrinkError: MLflow can't be asked or told who the champion is; the next visit does it.
    """
    with _alone(root, target):
        check(target)
        today = fingerprint(backend(target.hardware.backend), place_of(target.hardware), target.hardware)
        model = workload_of(target).key
        last, pending = _last(target, root, model, today["key"])
        before = front_of(last.target(), last.candidates())
        found = changes(last.read_json("hardware.json") or {}, today)
        folders = [store.folder for store in searches_of(root, target)]
        begun = Reoptimization.of(pending) if pending is not None else None
        reasons = begun.reasons if begun else tuple(change.to_words() for change in found)
        if not reasons and force:
            reasons = ("asked for, with nothing changed",)
        if not reasons and before.members:  # without a front there is nothing to put in a champion's place
            reasons = _broken(target, champions(folders, uri))
        if not reasons:
            return Reoptimized(last, before, _document(target, last, before, today, None))
        if pending is None or begun is None:
            target = _with_seed(target, last.target().search.seed)  # the weights are those of that seed
            pending = Store.create(root, target)
            begun = Reoptimization(
                earlier=last.name,
                place=today["key"],
                seconds=_first_seconds(last),
                reasons=reasons,
                changes=found,
                fresh=not found,
            ).keep(pending)
        known = earlier_candidates(root, last, model, today)
        share = _SHARE_ALONE if all(item.usable for item in known) else _SHARE
        again = Again(
            known=known,
            revisit=share * begun.seconds,
            explore=time,
            piece=_longest_seconds(known),
            whole=begun.seconds,
        )
        finished = run(pending.target(), pending, watcher=watcher, uri=uri, again=again, fresh=begun.fresh)
        if finished.interrupted:
            return Reoptimized(last, before, _document(target, last, before, today, finished), finished)
        # Asked only now: MLflow may be away while the search is under way, and the next visit comes back to this.
        taken = [succeed(target, pending, finished.front, holder) for holder in champions(folders, uri)]
        document = {**_document(target, last, before, today, finished, begun), "registered": taken}
        begun.model_copy(update={"outcome": document}).keep(pending)
        return Reoptimized(last, before, document, finished)


def _broken(target: Target, holders: list[Champion]) -> tuple[str, ...]:
    """Say which champions break a limit today."""
    broken = [(holder, words) for holder in holders if (words := drift(target, holder))]
    return tuple(f"{_called(holder)} breaks a limit today: {words}" for holder, words in broken)


def _called(holder: Champion) -> str:
    return f"{holder.model}@{holder.alias}" if holder.alias else f"{holder.model}/{holder.version}"


def _last(target: Target, root: Path, model: str, place: str) -> tuple[Store, Store | None]:
    """Find the last search that came to its end, and the re-optimisation since that did not, if it is for today."""
    pending: Store | None = None
    stores = searches_of(root, target)
    for store in stores:
        begun = Reoptimization.of(store)
        if begun is not None and begun.outcome is None:
            if pending is None and begun.place == place and _declared(store.target()) == _declared(target):
                pending = store
        elif (store.folder / "report.json").is_file() and model_of(store) in (model, None):
            return store, pending if pending is None or _after(pending, store) else None
    if any((store.folder / "report.json").is_file() for store in stores):
        raise target.source.error(
            ("model",),
            "the model or its data are others than when this target was searched for: begin anew with 'autoshrink "
            f"search {target.source.name}'",
        )
    raise SpecError(
        f"{target.source.name}: no search of it in {root}/ that came to its end: start one with 'autoshrink search "
        f"{target.source.name}'"
    )


def _after(pending: Store, last: Store) -> bool:
    begun = Reoptimization.of(pending)
    return begun is not None and begun.earlier == last.name


def _declared(target: Target) -> str:
    return content_key(target.model_dump(mode="json", exclude={"search"}))


def _first_seconds(last: Store) -> float:
    begun = Reoptimization.of(last)
    if begun is not None:
        return begun.seconds
    return float((last.read_json("seconds.json") or {}).get("total", 0.0))


def _longest_seconds(known: Sequence[Known]) -> float:
    """Give what the dearest candidate took, with all that was done for it: one that is begun is not cut off."""
    return max((sum(item.candidate.seconds.values()) for item in known), default=0.0)


def _with_seed(target: Target, seed: int) -> Target:
    changed = target.model_copy(update={"search": target.search.model_copy(update={"seed": seed})})
    changed._source = target.source
    return changed


def _document(
    target: Target,
    last: Store,
    before: Front,
    today: dict[str, Any],
    finished: Finished | None,
    begun: Reoptimization | None = None,
) -> dict[str, Any]:
    document: dict[str, Any] = {
        "event": "reoptimized" if finished else "unchanged",
        "target": target.name,
        "file": str(target.source.folder.resolve() / Path(target.source.name).name),
        "earlier": last.name,
        "hardware": today,
        "reasons": list(begun.reasons) if begun else [],
        "changes": [change.model_dump() for change in begun.changes] if begun else [],
    }
    if finished is None:
        return document
    return {
        **document,
        "id": uuid.uuid4().hex,
        "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "search": finished.store.name,
        "front": {"before": _members(before), "after": _members(finished.front)},
        "hypervolume": {"before": before.hypervolume, "after": finished.front.hypervolume},
        "registered": [],
        "seconds": finished.document["seconds"],
    }


def _members(front: Front) -> list[dict[str, Any]]:
    return [
        {
            "id": member.id,
            "key": member.key,
            "recipe": member.recipe.model_dump(mode="json"),
            "metrics": {name: metric.model_dump() for name, metric in member.metrics.items()},
            "accuracy": member.accuracy.model_dump(),
        }
        for member in front.members
    ]


@contextmanager
def _alone(root: Path, target: Target) -> Iterator[None]:
    """Hold a target for one re-optimisation; the lock goes with the process, however that ends."""
    folder = root / ".watch"
    folder.mkdir(parents=True, exist_ok=True)
    name = content_key([str(target.source.folder.resolve()), Path(target.source.name).name])
    with (folder / f"{name}.lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SpecError(f"{target.source.name} is being re-optimised by another process already") from None
        yield
