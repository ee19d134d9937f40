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
"""Seconds that a far machine may take to open a connection."""
_SILENT = 20.0
"""Seconds without any answer: a network can be away for a moment, but who refuses is not there."""


class RayGone(AutoshrinkError):
    """Ray itself was ended: nothing can be handed out any more, and nothing comes back."""

    exit_code = 4


class Pulse:
    """Knocks at the ports of the processes without which nothing goes on."""

    def __init__(self, places: Mapping[str, tuple[str, int]], patience: Mapping[str, float]) -> None:
        """Begin.

        Args:
            places: host and port by the name of the process.
            patience: seconds that one of them may be away, by its name; what is not named never comes back.
        """
        self._places = places
        self._patience = patience
        self._seen = dict.fromkeys(places, time.monotonic())
        self._looked = time.monotonic()

    def check(self, *, at_once: bool = False) -> None:
        """Look, unless that was done a moment ago.

        Args:
            at_once: look in any case.

        Raises:
            RayGone: one of them is away for longer than is borne with.
        """
        if time.monotonic() - self._looked < _EVERY and not at_once:
            return
        self._looked = time.monotonic()
        for name, place in self._places.items():
            refused = _refused(place)
            if refused is None:
                self._seen[name] = time.monotonic()
                continue
            allowed = max(self._patience.get(name, 0.0), 0.0 if refused else _SILENT)
            if time.monotonic() - self._seen[name] > allowed:
                raise RayGone(f"Ray was ended: its {name} at {place[0]}:{place[1]} is gone")


def _refused(place: tuple[str, int]) -> bool | None:
    """Knock: None where somebody is there, True where the machine says that nobody is, False where it says nothing."""
    try:
        socket.create_connection(place, _ANSWERS).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return None
