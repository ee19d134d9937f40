"""Whether Ray is still there: its processes are knocked at, as Ray itself takes a minute to say that they are gone."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping

from autoshrink.core import AutoshrinkError

__all__ = ["Pulse", "RayGone"]

_EVERY = 2.0
"""Seconds between two looks."""
_ANSWERS = 5.0
"""Seconds that a busy machine may take to open a connection."""


class RayGone(AutoshrinkError):
    """Ray itself was ended: nothing can be handed out any more, and nothing comes back."""

    exit_code = 4


class Pulse:
    """Knocks at the ports of the processes without which nothing goes on."""

    def __init__(self, places: Mapping[str, tuple[str, int]], patience: float) -> None:
        """Begin.

        Args:
            places: host and port by the name of the process.
            patience: seconds that one of them may be away: a cluster's head can be started again elsewhere.
        """
        self._places = places
        self._patience = patience
        self._seen = dict.fromkeys(places, time.monotonic())
        self._looked = time.monotonic()

    def check(self) -> None:
        """Look, unless that was done a moment ago.

        Raises:
            RayGone: one of them is away for longer than is borne with.
        """
        if time.monotonic() - self._looked < _EVERY:
            return
        self._looked = time.monotonic()
        for name, place in self._places.items():
            if _answers(place):
                self._seen[name] = time.monotonic()
            elif time.monotonic() - self._seen[name] > self._patience:
                raise RayGone(f"Ray was ended: its {name} at {place[0]}:{place[1]} is gone")


def _answers(place: tuple[str, int]) -> bool:
    try:
        socket.create_connection(place, _ANSWERS).close()
    except TimeoutError:
        return True  # somebody is there, and busy
    except OSError:
        return False
    return True
