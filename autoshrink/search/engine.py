"""The main job: what the space can reach, what the layers bear, the exploration, and the front confirmed at the end.

The funnel, from the cheapest question to the dearest:

1. `reach` measures corners of the space; a budget that none of them meets ends the search before anything is trained.
2. `exploration` draws recipes, builds shapes and number formats without a gradient step, and measures them: what is
   over the budget is stopped, with its costs told to the sampler. `proposals` decides what is drawn: what earlier
   searches found, known-good recipes, other strengths and formats of what turned out well, then the sampler's own.
3. `funnel` and `forecast` foretell where the accuracy of the others will end; those are trained first that would add
   most to the front; a short rung on a coreset comes before the whole recovery where that is dear.
4. `confirm` scores the front on the test split, and measures it again with nothing else running.

`reuse` keeps costs, weights and results for later searches of the same model. On another device, `revisit` begins with
what they found, in the place of the first two steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autoshrink.core import Candidate, Encoding, Front, Limits
from autoshrink.search.confirm import ask_original, confirm_front, measure_original, original_again
from autoshrink.search.exploration import Exploration
from autoshrink.search.lineage import Known
from autoshrink.search.presets import PRESETS
from autoshrink.search.reach import Corners, Reach
from autoshrink.search.report import limits_for
from autoshrink.search.revisit import Revisit
from autoshrink.search.session import Session
from autoshrink.search.work import Compressed

__all__ = ["Again", "search", "search_again"]

_LEAST = 5.0
"""Seconds of measuring again that are not worth saving."""


@dataclass(frozen=True)
class Again:
    """What a search begins with that goes on from earlier ones, and how far it goes."""

    known: Sequence[Known]
    revisit: float
    """Seconds after which no other earlier candidate is measured; the first ones always are, and a few seconds'."""
    explore: float | None
    """Seconds to search on after that; None for what is left of `revisit`."""
    piece: float
    """Seconds that a candidate may take: with less time left, none is begun."""
    whole: float
    """Seconds to search on for where none of the earlier candidates keeps the limits, unless `explore` says it."""


def search(session: Session, accepts: Callable[[Encoding], str]) -> Front:
    """Search until enough candidates are tried or the time is over, then confirm the front.

    Raises:
        SpecError: the user's model, data or floor is wrong.
        DeviceError: the device is gone; the search can be resumed.
        AutoshrinkError: the first five candidates or ten in a row failed.
    """
    original = ask_original(session)
    corners = Corners(session, accepts)  # built beside the original, while the first worker is busy with it
    session.pool.warm_up()
    reference = measure_original(session, original)
    limits = limits_for(session.target, session.original)  # a floor above the original's accuracy ends here
    session.tracking.start(session.store.read_json("hardware.json"), session.original, limits)
    reach = corners.measure(reference, limits)
    if reach.impossible(limits):
        return _nothing_in_reach(session, reach, limits)
    Exploration(session, accepts, reference).run()
    return confirm_front(session, reference)


def search_again(session: Session, accepts: Callable[[Encoding], str], again: Again) -> Front:
    """Measure what earlier searches found on the device of today, search on from there, and confirm the front.

    Raises:
        SpecError: the user's model, data or floor is wrong.
        DeviceError: the device is gone; the search can be resumed.
        AutoshrinkError: the first five candidates or ten in a row failed.
    """
    session.pool.warm_up()
    revisit = Revisit(session, accepts, again.known)
    busy = revisit.ahead()
    reference, accuracy = original_again(session, _original_files(session, again.known))
    limits = limits_for(session.target, session.original)
    session.tracking.start(session.store.read_json("hardware.json"), session.original, limits)
    session.until = until = max(again.revisit, session.clock.elapsed + _LEAST)
    revisit.run(reference, accuracy, until)
    usual = until - again.piece if revisit.found else session.clock.elapsed + again.whole
    session.until = usual if again.explore is None else session.clock.elapsed + again.explore
    if session.in_time:
        Exploration(session, accepts, reference, () if revisit.found else PRESETS).run()
    tested, alone = dict(revisit.tested), set(revisit.alone)
    if accuracy is not None and not busy:
        tested[0] = accuracy
        alone.add(0)
    return confirm_front(session, reference, tested, alone)


def _original_files(session: Session, known: Sequence[Known]) -> Compressed | None:
    for item in known:
        if item.usable and item.original.artifact is not None:
            files = session.store.find_artifact(item.original.artifact)
            if files is not None:
                return Compressed(item.original.artifact, files, item.original.facts, {})
    return None


def _nothing_in_reach(session: Session, reach: Reach, limits: Limits) -> Front:
    """Keep the corners as candidates that were stopped, so that it shows how near they come."""
    session.show("the budget can't be met, and nothing is trained")
    reason = "; ".join(reach.impossible(limits))
    for recipe, measurement in reach.measured:
        if recipe.key not in session.by_key:
            number = session.last + 1
            stopped = Candidate(id=number, recipe=recipe, outcome="stopped", reason=reason, measurement=measurement)
            session.finish(stopped)
    return session.front()
