"""Where the time of a search goes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

__all__ = ["Clock"]


class Clock:
    """Adds up seconds by stage; a stage that is not named here is the engine's own."""

    def __init__(self, earlier: Mapping[str, float] | None = None) -> None:
        self._begun = time.monotonic()
        self._earlier = (earlier or {}).get("total", 0.0)
        stages = ("train", "export", "measure", "engine")
        self._seconds = {stage: (earlier or {}).get(stage, 0.0) for stage in stages}

    @property
    def elapsed(self) -> float:
        """Seconds since the start or the resumption."""
        return time.monotonic() - self._begun

    def add(self, seconds: Mapping[str, float]) -> None:
        """Add what workers spent."""
        for stage, spent in seconds.items():
            self._seconds[stage] = self._seconds.get(stage, 0.0) + spent

    @contextmanager
    def engine(self) -> Iterator[None]:
        """Count a block as the engine's own time: asking, telling, storing, logging, scheduling."""
        begun = time.monotonic()
        yield
        self._seconds["engine"] += time.monotonic() - begun

    def totals(self) -> dict[str, float]:
        """Give the seconds by stage, and the wall time of all sittings."""
        return {"total": self._earlier + self.elapsed, **self._seconds}
