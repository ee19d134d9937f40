"""How often each may ask: a bucket of tokens that fills again as time goes by."""

from __future__ import annotations

import threading
import time

__all__ = ["Buckets"]

_MOST = 10_000
"""Buckets that are kept; a full one is no loss."""


class Buckets:
    """Grants so many requests a minute to each, which may come all at once."""

    def __init__(self, per_minute: int) -> None:
        self._most = float(per_minute)
        self._lock = threading.Lock()
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, who: str) -> float:
        """Take one request out of a bucket.

        Returns:
            0, or how many seconds it takes until there is one.
        """
        rate = self._most / 60
        with self._lock:
            now = time.monotonic()
            left, at = self._left.pop(who, (self._most, now))
            left = min(self._most, left + (now - at) * rate)
            granted = left >= 1
            self._left[who] = (left - granted, now)
            if len(self._left) > _MOST:
                del self._left[next(iter(self._left))]  # the one that was used the longest time ago
            return 0.0 if granted else (1 - left) / rate
