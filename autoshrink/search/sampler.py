"""What is asked next, and what was learned: recipes in, recipes out; the study behind it is Optuna's."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoshrink.core import Candidate, Limits, Recipe, Space
from autoshrink.core.front import accuracy_of, cost
from autoshrink.core.recipe import Scalar
from autoshrink.search.database import Database
from autoshrink.search.journal import Direction, Journal
from autoshrink.search.presets import PRESETS, Preset
from autoshrink.search.study import Kind, Question, Study
from autoshrink.search.unfinished import Unfinished
from autoshrink.search.variants import Recall, in_other_formats
from autoshrink.techniques.base import Accepts
from autoshrink.techniques.registry import draw

__all__ = ["Draw", "Sampler"]

_MOST_SIBLINGS = 6
_LONGEST_REASON = 500

Params = dict[str, Scalar]


@dataclass(frozen=True)
class Draw:
    """One recipe that the sampler asks about; ``number`` counts what was asked."""

    number: int
    recipe: Recipe
    params: Mapping[str, Scalar] = field(default_factory=dict)
    """What was chosen for it, by the parameter's name."""


class Sampler:
    """Proposes recipes and learns from what became of them.

    What was told is in the journal before `tell` returns. What is waiting or in work is in a small file beside it, and
    is asked first after a resume.
    """

    def __init__(
        self,
        journal: Path,
        name: str,
        space: Space,
        accepts: Accepts,
        objectives: Sequence[str],
        *,
        kind: Kind,
        seed: int,
        presets: Sequence[Mapping[str, Sequence[Scalar] | float]] = PRESETS,
        database: Database | None = None,
    ) -> None:
        """Begin or resume.

        Args:
            journal: the file of the study.
            name: the study's.
            space: what recipes are drawn from.
            accepts: says which encodings backend and device execute.
            objectives: ``accuracy`` or costs.
            kind: Optuna's sampler.
            seed: of its random numbers.
            presets: what is asked first.
            database: keeps the study in the journal's place.
        """
        self._space = space
        self._accepts = accepts
        self._objectives = tuple(objectives)
        self._open: dict[int, Question] = {}
        self._queue: deque[tuple[str, Params]] = deque()
        self._unfinished = Unfinished(journal.with_suffix(".unfinished"))
        directions: list[Direction] = ["maximize" if name == "accuracy" else "minimize" for name in self._objectives]
        if database is None:
            self._journal: Journal | Database = (kept := Journal(journal, name, directions))
            trials = kept.take()
        else:
            self._journal, trials = database, database.begin(directions)
        self._keys = {str(trial.user_attrs.get("key")) for trial in trials}
        self._asked = len(trials)
        self._study = Study(directions, kind, seed, trials)
        earlier = self._unfinished.earlier
        if earlier is None:
            self._enqueue(self._wished(wishes) for wishes in presets)
        else:
            self._enqueue(self._recalled(params) for params in earlier)
        self._unfinished.renew(self._queue)

    def ask(self) -> Draw:
        """Propose a recipe: what is waiting, else what the study suggests."""
        key, params = self._queue.popleft() if self._queue else ("", None)
        question = self._study.ask(params)
        recipe = draw(self._space, question, self._accepts)
        proposal = Draw(self._asked, recipe, dict(question.params))
        self._asked += 1
        self._keys.add(recipe.key)
        self._open[proposal.number] = question
        if key != recipe.key:
            self._unfinished.begin(recipe.key, proposal.params)
            self._unfinished.end(key)
        return proposal

    def tell(self, draw: Draw, candidate: Candidate, limits: Limits, *, again: bool = False) -> None:
        """Say what became of a recipe: its objectives, and by how much it breaks each limit.

        Of a stopped candidate an accuracy that is not known is told as the floor. What was refused or failed, or has no
        figure for an objective, is told as failed, and so is what was stopped before all costs were known. ``again``
        says that the study suggested a recipe that it was told of before.
        """
        question = self._open.pop(draw.number)
        notes: dict[str, Any] = {"candidate": candidate.id, "key": draw.recipe.key, "recipe": draw.recipe.describe()}
        if again:
            notes["again"] = True
        values, excess = self._figures(candidate, limits)
        if values is None:
            notes["reason"] = candidate.reason[-_LONGEST_REASON:]
        self._journal.add(self._study.tell(question, values, excess, notes))
        self._unfinished.end(draw.recipe.key)

    def drop(self, draw: Draw) -> None:
        """Give a draw up, such as one whose recipe is in work already."""
        self._study.drop(self._open.pop(draw.number))
        self._unfinished.end(draw.recipe.key)

    def enqueue(self, wishes: Mapping[str, Sequence[Scalar] | float]) -> None:
        """Have a recipe asked before the study suggests another, after what is waiting; once in a search is enough.

        Args:
            wishes: as a `Preset` makes a recipe of them.
        """
        self._enqueue_new([self._wished(wishes)])

    def recall(self, params: Mapping[str, Scalar], key: str) -> bool:
        """Have a recipe of an earlier search asked next, if this space has it and it was not asked before."""
        recipe, chosen = self._recalled(params)
        return recipe.key == key and self._put_first(recipe, chosen)

    def prefer(self, params: Mapping[str, Scalar]) -> None:
        """Have the recipe asked next that these choices make, if it was not asked before."""
        self._put_first(*self._recalled(params))

    def siblings(self, draw: Draw) -> int:
        """Have the recipes asked next that equal a draw but for the format of its encoding: they share its weights.

        Args:
            draw: a proposal that was neither told nor dropped yet.

        Returns:
            How many of them are new, six at most.
        """
        others = in_other_formats(self._space, self._accepts, self._open[draw.number].params)
        new = self._enqueue_new(others, _MOST_SIBLINGS)
        self._queue.rotate(new)
        return new

    def _wished(self, wishes: Mapping[str, Sequence[Scalar] | float]) -> tuple[Recipe, Params]:
        preset = Preset(wishes)
        return draw(self._space, preset, self._accepts), preset.chosen

    def _recalled(self, params: Mapping[str, Scalar]) -> tuple[Recipe, Params]:
        recall = Recall(params)
        return draw(self._space, recall, self._accepts), recall.chosen

    def _enqueue(self, recipes: Iterable[tuple[Recipe, Params]], most: int | None = None) -> list[tuple[str, Params]]:
        new: list[tuple[str, Params]] = []
        for recipe, params in recipes:
            if recipe.key not in self._keys and len(new) != most:
                self._keys.add(recipe.key)
                new.append((recipe.key, dict(params)))
        self._queue.extend(new)
        return new

    def _enqueue_new(self, recipes: Iterable[tuple[Recipe, Params]], most: int | None = None) -> int:
        new = self._enqueue(recipes, most)
        for key, params in new:
            self._unfinished.begin(key, params)
        return len(new)

    def _put_first(self, recipe: Recipe, params: Params) -> bool:
        waiting = next((item for item in self._queue if item[0] == recipe.key), None)
        if waiting is not None:
            self._queue.remove(waiting)
            self._queue.appendleft(waiting)
            return True
        new = bool(self._enqueue_new([(recipe, params)]))
        self._queue.rotate(new)
        return new

    def _figures(self, candidate: Candidate, limits: Limits) -> tuple[list[float] | None, dict[str, float]]:
        excess = limits.excess(candidate)
        values = {name: cost(candidate, name) for name in self._objectives}
        if candidate.outcome == "stopped" and accuracy_of(candidate) is None:
            excess.pop("accuracy")
            values |= {"accuracy": -limits.floor} if "accuracy" in values else {}
        known = all(map(math.isfinite, values.values()))
        if candidate.outcome == "stopped":
            known = known and all(map(math.isfinite, excess.values()))
        if not known or candidate.outcome in ("refused", "failed"):
            return None, {}
        told = [-value if name == "accuracy" else value for name, value in values.items()]
        return told, {name: min(excess.get(name, 0.0), 1e9) for name in ("accuracy", *limits.costs)}
