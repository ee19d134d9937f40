"""What to try next: recipes known to be good, what is beside those that turned out well, and the sampler's own."""

from __future__ import annotations

from collections.abc import Sequence, Set

from autoshrink.core import Candidate, Limits
from autoshrink.search.report import blind
from autoshrink.search.sampler import Draw, Sampler
from autoshrink.search.session import Session
from autoshrink.search.strength import Strength
from autoshrink.search.warm_start import Wishes
from autoshrink.techniques.base import Accepts

__all__ = ["Proposals"]

_REPEATS = 300
"""Draws in a row that were all known: the space is exhausted then."""


class Proposals:
    """Asks a sampler, and tells it what became of what it proposed."""

    def __init__(self, session: Session, accepts: Accepts, limits: Limits, presets: Sequence[Wishes]) -> None:
        """Begin or resume.

        Args:
            session: the search.
            accepts: says which encodings backend and device execute.
            limits: what a candidate has to keep.
            presets: recipes to try first, after the best ones of earlier searches.
        """
        settings = session.target.search
        self._session = session
        self._limits = limits
        self._strength = Strength(settings.space)
        self._sampler = Sampler(
            session.store.study,
            session.store.name,
            settings.space,
            accepts,
            session.target.metrics,
            kind=settings.sampler,
            seed=settings.seed,
            presets=presets,
            database=session.database,
        )
        for result in reversed(session.reuse.best_results(session.target, limits)):
            self._sampler.recall(result.params, result.candidate.key)

    def next(self, in_work: Set[str]) -> Draw | None:
        """Propose a recipe that is neither finished nor in work; None where the space has no more."""
        for _ in range(_REPEATS):
            draw = self._sampler.ask()
            known = self._session.candidate(draw.recipe.key)
            if known is not None:
                self._sampler.tell(draw, blind(known), self._limits, again=True)
            elif draw.recipe.key in in_work:
                self._sampler.drop(draw)
            else:
                return draw
        return None

    def add(self, presets: Sequence[Wishes]) -> None:
        """Have recipes tried after those that are waiting."""
        for wishes in presets:
            self._sampler.enqueue(wishes)

    def vary_format(self, draw: Draw) -> None:
        """Have the same recipe tried in other number formats, which share its weights."""
        self._sampler.siblings(draw)

    def strengthen(self, draw: Draw, *, stronger: bool) -> None:
        """Have the same recipe tried next at another strength: halfway to what is known to be too much, or too little.

        Args:
            draw: a proposal.
            stronger: whether it should be stronger or weaker.
        """
        params = self._strength.next(draw.params, borne=stronger)
        if params is not None:
            self._sampler.prefer(params)

    def finish(self, draw: Draw, candidate: Candidate) -> None:
        """Learn what became of a proposal."""
        self._sampler.tell(draw, blind(candidate), self._limits)
