"""What happened to a target while nobody looked, in MLflow: on the run of the search that came of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoshrink.core import Target
from autoshrink.tracking.cursor import Cursor
from autoshrink.tracking.ledger import Ledger, outages, quiet

__all__ = ["log_event"]

_LONGEST = 4000


def log_event(folder: Path, target: Target, event: Mapping[str, Any], uri: str | None = None) -> str:
    """Mark a search's run with why it was begun, and keep the whole event beside it; doing so twice changes nothing.

    Args:
        folder: the search's own.
        target: the search's.
        event: the document of a re-optimisation.
        uri: MLflow's tracking address; by default the one that the search used.

    Returns:
        Why it could not be sent; empty when it was.
    """
    ledger = Ledger(Cursor.open(folder), target.name, folder.name, uri)
    tags = {
        "autoshrink.event": str(event["event"]),
        "autoshrink.reasons": "; ".join(event["reasons"])[:_LONGEST],
        "autoshrink.earlier": str(event["earlier"]),
    }
    with quiet():
        try:
            for name, value in tags.items():
                ledger.client.set_tag(ledger.parent, name, value)
            ledger.client.log_dict(ledger.parent, dict(event), "reoptimization.json")
        except outages() as error:
            return (str(error).strip() or type(error).__name__).splitlines()[0]
    return ""
