"""The searches of one target, one after the other: which was the last, and what of them can be used again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from autoshrink.backends.changes import Change, changes, exports_alike
from autoshrink.core import AutoshrinkError, Candidate, Target
from autoshrink.core.documents import Frozen
from autoshrink.core.recipe import Scalar
from autoshrink.search.cache import Cache
from autoshrink.search.reuse import Reuse
from autoshrink.search.store import Store

__all__ = ["Known", "Reoptimization", "earlier_candidates", "model_of", "searches_of"]

_FILE = "reoptimization.json"


class Reoptimization(Frozen):
    """Why a search was begun anew from an earlier one, and what came of it: a file in the new search's folder."""

    earlier: str
    """The name of the search that it begins with."""
    place: str
    """The key of the fingerprint that it is for."""
    seconds: float
    """What the first search took, without which nobody would know what little is."""
    reasons: tuple[str, ...]
    changes: tuple[Change, ...] = ()
    fresh: bool = False
    """Whether nothing counts that was measured on this device before."""
    outcome: dict[str, Any] | None = None
    """What it ended with; None while it is under way, or when it was interrupted."""

    @classmethod
    def of(cls, store: Store) -> Reoptimization | None:
        """Read a search's; None for one that was begun from nothing."""
        try:
            kept = store.read_json(_FILE)
            return cls.model_validate(kept) if kept is not None else None
        except (ValidationError, AutoshrinkError):
            return None  # damaged: the search counts for itself

    def keep(self, store: Store) -> Reoptimization:
        """Write it into a search's folder."""
        store.write_json(_FILE, self.model_dump(mode="json"))
        return self


@dataclass(frozen=True)
class Known:
    """A candidate of an earlier search, and what is needed to use it again."""

    candidate: Candidate
    original: Candidate
    """The original model as that search measured it."""
    params: Mapping[str, Scalar] | None
    """What was chosen for the recipe; None where nobody knows any more."""
    usable: bool
    """Whether its files are what an export would write today."""


def model_of(store: Store) -> str | None:
    """Give the key of a search's model and data; None where it was not noted down."""
    kept = store.read_json("workload.json", key=str)
    return kept["key"] if kept is not None else None


def searches_of(root: Path, target: Target) -> list[Store]:
    """Find the searches of a target, the latest first, whatever hardware and limits it named then."""
    found = []
    wanted = _file(target.source.name, target.source.folder)
    for path in root.glob("*/search.json"):
        try:
            about, begun = json.loads(path.read_text(encoding="utf-8")), path.stat().st_mtime_ns
        except (OSError, ValueError):
            continue
        if _file(str(about.get("file")), Path(str(about.get("folder")))) == wanted:
            found.append((begun, path.parent))
    return [Store(folder) for _, folder in sorted(found, reverse=True)]


def earlier_candidates(root: Path, last: Store, model: str, today: Mapping[str, Any]) -> list[Known]:
    """Gather what a search and those that it was begun from have measured; of each recipe the latest figures.

    Args:
        root: the folder that holds all searches.
        last: the latest search.
        model: the key of the model and its data.
        today: the fingerprint of the device that there is now.
    """
    found: dict[str, Known] = {}
    for store in _chain(root, last):
        candidates, before = store.candidates(), store.read_json("hardware.json") or {}
        if not candidates or candidates[0].id != 0:
            continue
        usable = exports_alike(changes(before, today))
        reuse = Reuse(Cache(root, model), str(before.get("key")), store.target().search.seed)
        for candidate in candidates:
            if candidate.outcome == "measured" and candidate.key not in found:
                params = reuse.params(candidate.key)
                found[candidate.key] = Known(candidate, candidates[0], params, usable)
    return list(found.values())


def _file(name: str, folder: Path) -> Path:
    return folder.resolve() / Path(name).name  # the name is what the user wrote, wherever that was


def _chain(root: Path, last: Store) -> Iterator[Store]:
    store: Store | None = last
    seen = set[str]()
    while store is not None and store.name not in seen and (store.folder / "search.json").is_file():
        seen.add(store.name)
        yield store
        begun = Reoptimization.of(store)
        store = Store(root / begun.earlier) if begun is not None else None
