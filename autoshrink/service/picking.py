"""Which candidate of a front is taken."""

from __future__ import annotations

from autoshrink.core import Candidate, Front, SpecError

__all__ = ["choose"]


def choose(front: Front, number: int | None, prefer: str) -> Candidate:
    """Choose a candidate by its id, else the best of the front by a preference.

    Args:
        front: all candidates, judged.
        number: its id.
        prefer: ``knee``, ``accuracy`` or a cost; counts without an id.

    Raises:
        SpecError: there is none, or it has no files.
    """
    if number is not None:
        known = {item.candidate.id: item for item in front.judged}
        if number not in known:
            raise SpecError(f"no candidate {number}; the front has {[member.id for member in front.members]}")
        if known[number].candidate.artifact is None:
            raise SpecError(f"candidate {number} has no artifact: it was {known[number].state}, {known[number].reason}")
        return known[number].candidate
    chosen = front.knee() if prefer == "knee" else front.best(prefer)
    if chosen is None:
        raise SpecError("the front is empty: no candidate meets the limits; 'autoshrink front' says which limit binds")
    return chosen
