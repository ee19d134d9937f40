"""What an energy sensor shows: joules so far, counted by the hardware, or added up from a gauge of power."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType

__all__ = ["Counter", "Gauge", "Meter"]

_EVERY = 0.01
"""Seconds between two looks at a gauge."""


class Meter(ABC):
    """The energy that a part of a machine has spent, while it is entered."""

    def __init__(self, name: str, within: float = 0.0) -> None:
        """Describe it.

        Args:
            name: the sensor, and what it stands for: ``rapl: package-0``.
            within: the relative error that its maker states, where there is such a statement.
        """
        self.name = name
        self.within = within

    @abstractmethod
    def joules(self) -> float:
        """Give the energy spent so far, in J since some moment."""

    @abstractmethod
    def shown(self) -> float:
        """Give what the sensor itself shows: a change of it is an update."""

    def __enter__(self) -> Meter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class Counter(Meter):
    """Joules that the hardware adds up itself."""

    def __init__(self, name: str, joules: Callable[[], float], within: float = 0.0) -> None:
        super().__init__(name, within)
        self._joules = joules

    def joules(self) -> float:
        """Read the counter."""
        return self._joules()

    def shown(self) -> float:
        """Read the counter."""
        return self._joules()


class Gauge(Meter):
    """Watts, looked at again and again by a thread that adds them up."""

    def __init__(self, name: str, watts: Callable[[], float], within: float = 0.0) -> None:
        super().__init__(name, within)
        self._watts = watts
        self._sum = 0.0
        self._last = self._at = 0.0
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def joules(self) -> float:
        """Give what was added up, until now."""
        self._look()
        return self._sum

    def shown(self) -> float:
        """Give the watts that it shows."""
        return self._watts()

    def __enter__(self) -> Gauge:
        self._last, self._at = self._watts(), time.perf_counter()
        self._over.clear()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_EVERY):
            self._look()

    def _look(self) -> None:
        with self._lock:
            watts, now = self._watts(), time.perf_counter()
            self._sum += (self._last + watts) / 2 * (now - self._at)
            self._last, self._at = watts, now
