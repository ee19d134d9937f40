"""The original at the start, and the front at the end: what is measured while nothing else runs."""

from __future__ import annotations

from autoshrink.core import Candidate, Front, Recipe
from autoshrink.search.session import Session
from autoshrink.search.work import Compressed
from autoshrink.search.workers import Work

__all__ = ["ask_original", "confirm_front", "measure_original"]


def ask_original(session: Session) -> Work | None:
    """Have the original model exported, unless an earlier sitting did."""
    return session.pool.compress(Recipe()) if session.tally is None else None


def measure_original(session: Session, asked: Work | None) -> Compressed:
    """Measure the original model, unless an earlier sitting did.

    Returns:
        Its artifact, the reference that every candidate is timed in turn with.
    """
    session.show("measuring the original model")
    if asked is None:
        return session.stored(session.original)
    made: Compressed = session.result(asked, "the original model can't be exported")
    measured = session.on_device(lambda: session.pool.measure(made))
    seconds = {**made.seconds, **measured.seconds}
    session.clock.add(seconds)
    session.finish(session.record(0, Recipe(), made, measured, seconds))
    return made


def confirm_front(session: Session, reference: Compressed) -> Front:
    """Measure the front again with nothing else running, and score it on the test split.

    What breaks a limit then is off the front, and what was behind it is confirmed in its place.
    """
    _confirm(session, session.original, None)
    while True:
        front = session.front()
        waiting = [member for member in front.members if member.accuracy.test is None]
        if not waiting:
            return front
        for number, member in enumerate(waiting):
            session.show(f"confirming the front ({number + 1} of {len(waiting)})")
            _confirm(session, member, reference)


def _confirm(session: Session, candidate: Candidate, reference: Compressed | None) -> None:
    if candidate.accuracy.test is not None:
        return
    made = session.stored(candidate)
    original = session.original.measurement if reference else None
    splits = ("validation", "test")
    measured = session.on_device(lambda: session.pool.measure(made, reference, original, splits))
    session.clock.add(measured.seconds)
    session.finish(session.record(candidate.id, candidate.recipe, made, measured, candidate.seconds))
