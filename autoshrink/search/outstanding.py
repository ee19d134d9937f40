"""What was handed out to Ray: noticed when it begins, ended when it takes too long, handed out again when it's lost."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import ray
from ray import exceptions

from autoshrink.search.pulse import Pulse, RayGone

__all__ = ["BEGUN", "LOST", "Cut", "Outstanding", "Piece"]

Cut = Literal["", "late", "lost", "memory"]
"""What ended a piece of work before it was done: the limit of its time, the death of its workers, want of memory."""
BEGUN = None
"""What a worker says first; then comes what it was asked for."""
LOST = "its worker was lost"
"""How the reason begins where nobody knows whether the candidate is to blame."""
_TRIES = 3
"""How often a piece of work is handed out that is lost."""

_LOST: dict[type[exceptions.RayError], str] = {
    exceptions.WorkerCrashedError: "the process ended: killed, for want of memory perhaps, or by the code that it ran",
    exceptions.NodeDiedError: "its node is gone",
    exceptions.LocalRayletDiedError: "Ray on its node is gone",
    exceptions.ObjectLostError: "its answer went with its node",
    exceptions.TaskUnschedulableError: "no node could take it",
    exceptions.RuntimeEnvSetupError: "its node could not make its environment",
    exceptions.RpcError: "the connection to it broke",
}
"""What is no fault of the work, as far as Ray can tell; their subclasses are among them."""


@dataclass(eq=False)
class Piece:
    """A piece of work that was handed out, once or more often."""

    ask: Callable[[], Any]
    """Hands it out; gives what Ray calls a generator: `BEGUN` comes first, and the answer after it."""
    reference: Any = None
    tries: int = 0
    begun: float | None = None
    ended: bool = False
    answer: Any = None
    """What the worker said; None where there is a reason why not."""
    reason: str = ""
    cut: Cut = ""


class Outstanding:
    """Pieces of work until they have ended, in one way or another."""

    def __init__(self, pulse: Pulse, limit: float | None, words: str) -> None:
        """Begin.

        Args:
            pulse: whether Ray is there.
            limit: seconds that a piece may take, from when it really runs; None for no limit.
            words: what is said of a piece that took longer.
        """
        self._pulse = pulse
        self._limit = limit
        self._words = words
        self._flying: dict[Any, Piece] = {}

    def hand_out(self, ask: Callable[[], Any]) -> Piece:
        """Hand a piece of work out.

        Raises:
            RayGone: nobody takes it.
        """
        self._pulse.check()
        piece = Piece(ask)
        self._send(piece)
        return piece

    def wait(self, running: list[Piece], timeout: float) -> list[Piece]:
        """Wait until at least one of some pieces has ended, or the time is over; what else ends is noted, too.

        Raises:
            RayGone: none of them will ever come back.
        """
        end = time.monotonic() + timeout
        while running:
            self._pulse.check()
            ended = [piece for piece in running if piece.ended]
            left = end - time.monotonic()
            if ended or left <= 0:
                return ended[:1]  # what it frees is handed out before the next one is looked at
            self._listen(left)
            self._end_late()
        return []

    def forget(self) -> None:
        """End what is still in work, as far as Ray can."""
        for reference in self._flying:
            with contextlib.suppress(exceptions.RayError, ValueError):
                ray.cancel(reference, force=True)
        self._flying.clear()

    def _send(self, piece: Piece) -> None:
        piece.tries += 1
        piece.begun = None
        piece.reference = piece.ask()
        self._flying[piece.reference] = piece

    def _listen(self, timeout: float) -> None:
        if not self._flying:
            return
        try:
            ready, _ = ray.wait(list(self._flying), num_returns=1, timeout=timeout)
            for reference in ready:
                self._hear(self._flying[reference])
        except exceptions.RaySystemError as error:
            raise RayGone(f"Ray was ended: {error}") from None

    def _hear(self, piece: Piece) -> None:
        try:
            said = ray.get(next(piece.reference))
        except tuple(_LOST) as error:
            self._pulse.check(at_once=True)  # where Ray itself is gone, no work is to blame
            if piece.tries < _TRIES:
                del self._flying[piece.reference]
                self._send(piece)
            else:
                why = next(words for kind, words in _LOST.items() if isinstance(error, kind))
                self._end(piece, f"{LOST} {_TRIES} times ({why})", "lost")
        except exceptions.OutOfMemoryError as error:
            self._end(piece, f"ended for want of memory: {str(error).strip().splitlines()[0]}", "memory")
        except exceptions.RayError as error:  # around the code that turns what fails into an answer
            self._end(piece, re.sub(r"\x1b\[\d+m", "", str(error)))
        else:
            if said is BEGUN and piece.begun is None:
                piece.begun = time.monotonic()
            else:
                piece.answer = said
                self._end(piece)

    def _end_late(self) -> None:
        if self._limit is None:
            return
        now = time.monotonic()
        for reference, piece in list(self._flying.items()):
            if piece.begun is not None and now - piece.begun > self._limit:
                ray.cancel(reference, force=True)  # ends the process, whatever it is doing
                self._end(piece, self._words, "late")

    def _end(self, piece: Piece, reason: str = "", cut: Cut = "") -> None:
        del self._flying[piece.reference]
        piece.reference, piece.ended = None, True
        piece.reason, piece.cut = reason, cut
