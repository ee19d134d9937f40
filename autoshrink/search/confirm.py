"""The original at the start, and the front at the end: what is measured while nothing else runs."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from types import MappingProxyType

from autoshrink.core import Accuracy, Candidate, Front, Recipe
from autoshrink.search.report import blind, limits_for
from autoshrink.search.session import Session, WorkFailed
from autoshrink.search.work import Compressed
from autoshrink.search.workers import Work

__all__ = ["ask_original", "confirm_front", "measure_original", "original_again"]

_BOTH = ("validation", "test")
_NONE: Mapping[int, Accuracy] = MappingProxyType({})


def ask_original(session: Session) -> Work | None:
    """Have the original model exported, unless it was measured earlier, in this search or in another of this model."""
    if session.tally is None:
        earlier = session.reuse.finished(Recipe().key, session.store)
        if earlier is None:
            return session.pool.compress(Recipe())
        session.finish(earlier)
    return None


def measure_original(session: Session, asked: Work | None) -> Compressed:
    """Measure the original model, unless that was done earlier.

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
    _keep_original(session, session.record(0, Recipe(), made, measured, seconds))
    return made


def original_again(session: Session, files: Compressed | None) -> tuple[Compressed, Accuracy | None]:
    """Measure the original model that earlier searches knew, on the device that there is today.

    Args:
        session: the new search, or a resumed one.
        files: the original's artifact, where an export would write the same again.

    Returns:
        Its artifact, and what both splits say of it; None where it was measured before.
    """
    session.show("measuring the original model")
    if session.tally is not None:
        return session.stored(session.original), None
    made: Compressed = files or session.result(session.pool.compress(Recipe()), "the original model can't be exported")
    measured = session.on_device(lambda: session.pool.measure(made, splits=_BOTH))
    seconds = {**made.seconds, **measured.seconds}
    session.clock.add(seconds)
    _keep_original(session, blind(session.record(0, Recipe(), made, measured, seconds)))
    return made, measured.accuracy


def confirm_front(
    session: Session, reference: Compressed, tested: Mapping[int, Accuracy] = _NONE, alone: Collection[int] = ()
) -> Front:
    """Measure the front again with nothing else running, and score it on the test split.

    What breaks a limit then is off the front, and what was behind it is confirmed in its place. The test split comes
    first, which takes no quiet device: who fails there need not be timed.

    Args:
        session: the search.
        reference: the original's artifact.
        tested: what both splits say of candidates, by id, where that is known already.
        alone: those of them that were measured with nothing else running.
    """
    if 0 in alone and session.original.accuracy.test is None:
        session.finish(session.original.model_copy(update={"accuracy": tested[0]}))
    _confirm_original(session)
    limits = limits_for(session.target, session.original)
    for number in tested.keys() - {0}:
        known = session.store.candidate(number).model_copy(update={"accuracy": tested[number]})
        if number in alone or "accuracy" in limits.excess(known):
            session.finish(known)
    scored: set[int] = set(tested)
    while True:
        front = session.front()
        waiting = [member for member in front.members if member.accuracy.test is None]
        if not waiting:
            return front
        session.show(f"confirming the front ({len(front.members) - len(waiting)} of {len(front.members)})")
        unscored = [member for member in waiting if member.id not in scored]
        if unscored:
            _take_off(session, unscored)
            scored |= {member.id for member in unscored}
        else:
            _measure(session, waiting[0], reference)


def _take_off(session: Session, members: list[Candidate]) -> None:
    """Score candidates on the test split, side by side, and keep the results of those that fail there."""
    limits = limits_for(session.target, session.original)
    scores = [functools.partial(session.pool.measure, session.stored(m), splits=_BOTH, wants=()) for m in members]
    asked = [score() for score in scores]
    for member, score, running in zip(members, scores, asked, strict=True):
        try:
            measured = session.on_device(score, running)
        except WorkFailed as failure:
            _fail(session, member, failure)
            continue
        session.clock.add(measured.seconds)
        scored = member.model_copy(update={"accuracy": measured.accuracy})
        if "accuracy" in limits.excess(scored):
            session.finish(scored)


def _measure(session: Session, member: Candidate, reference: Compressed) -> None:
    made, original = session.stored(member), session.original.measurement
    try:
        measured = session.on_device(lambda: session.pool.measure(made, reference, original, _BOTH))
    except WorkFailed as failure:
        _fail(session, member, failure)
        return
    session.clock.add(measured.seconds)
    session.finish(session.record(member.id, member.recipe, made, measured, member.seconds))


def _fail(session: Session, member: Candidate, failure: WorkFailed) -> None:
    """Take a candidate off the front that could not be measured again: others may stand in its place.

    Raises:
        WorkFailed: it is the original, which all others are compared with.
    """
    if not member.id:
        raise failure
    failed = Candidate(
        id=member.id, recipe=member.recipe, outcome="failed", reason=str(failure), seconds=member.seconds
    )
    session.finish(failed)


def _confirm_original(session: Session) -> None:
    original = session.original
    if original.accuracy.test is None:
        made = session.stored(original)
        measured = session.on_device(lambda: session.pool.measure(made, splits=_BOTH))
        session.clock.add(measured.seconds)
        _keep_original(session, session.record(0, original.recipe, made, measured, original.seconds))


def _keep_original(session: Session, original: Candidate) -> None:
    session.finish(original)
    session.reuse.keep_result({}, blind(original))
