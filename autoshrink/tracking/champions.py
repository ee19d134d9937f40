"""Which of a target's candidates MLflow's model registry holds, and under which aliases."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from autoshrink.core import AutoshrinkError
from autoshrink.tracking.card import SEARCH_ID
from autoshrink.tracking.cursor import Cursor
from autoshrink.tracking.ledger import address, connect, outages, quiet

__all__ = ["Champion", "champions"]


@dataclass(frozen=True)
class Champion:
    """A version of a registered model that came from a search."""

    model: str
    alias: str | None
    """None where no alias points to a version of the target's: then this is the latest one."""
    version: str
    folder: Path
    """The search's."""
    candidate: int
    prefer: str
    """What it was picked by; empty where it was named."""


def champions(folders: Iterable[Path], uri: str | None = None) -> list[Champion]:
    """Find what of some searches is registered: each alias that points to it, and models without one.

    Args:
        folders: the searches' own; one that MLflow never heard of has nothing registered.
        uri: MLflow's tracking address; by default the one that the searches used.

    Raises:
        AutoshrinkError: MLflow can't be reached.
    """
    cursors = [(folder, Cursor.open(folder)) for folder in folders if (folder / "tracking.json").is_file()]
    known = [(folder, cursor) for folder, cursor in cursors if cursor.uri is not None]
    if not known:
        return []
    address = str(known[0][1].uri)
    with quiet():
        try:
            return _find(known, uri)
        except outages() as error:
            raise AutoshrinkError(f"MLflow at {uri or address} can't be asked what is registered: {error}") from None


def _find(known: list[tuple[Path, Cursor]], uri: str | None) -> list[Champion]:
    client = connect(address(uri, known[0][1].uri))
    versions: dict[str, dict[str, Champion]] = {}
    for folder, cursor in known:
        for item in client.search_model_versions(f"tags.`{SEARCH_ID}` = '{cursor.search}'"):
            candidate, prefer = int(item.tags["autoshrink.candidate"]), item.tags.get("autoshrink.prefer", "")
            champion = Champion(item.name, None, str(item.version), folder, candidate, prefer)
            versions.setdefault(item.name, {})[champion.version] = champion
    found = []
    for model, ours in sorted(versions.items()):
        aliases = {alias: str(version) for alias, version in client.get_registered_model(model).aliases.items()}
        named = [
            Champion(model, alias, version, ours[version].folder, ours[version].candidate, ours[version].prefer)
            for alias, version in sorted(aliases.items())
            if version in ours
        ]
        found += named or [ours[max(ours, key=int)]]
    return found
