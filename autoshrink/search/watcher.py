"""What a search tells whoever watches it; the command line draws it, a test records it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from autoshrink.core import Judged, Tally

__all__ = ["Progress", "Silent", "Watcher"]


@dataclass(frozen=True)
class Progress:
    """Where a search is."""

    stage: str
    finished: int
    wanted: int
    running: int
    elapsed: float
    """Seconds since the search was started or resumed."""
    left: float | None
    """Seconds until the end, estimated; None while nothing is known."""
    tally: Tally | None
    """The standing of what is finished; None before the original model is measured."""
    latest: Judged | None = None
    """What was finished last."""
    reach: str = ""
    """What the space can reach on the target, in words; empty until it is known."""


class Watcher(Protocol):
    """Is told of every step."""

    def update(self, progress: Progress) -> None:
        """Take notice of where the search is."""


class Silent:
    """Watches without a word."""

    def update(self, progress: Progress) -> None:
        """Do nothing."""
