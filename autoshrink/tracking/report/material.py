"""All that a report is written from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from autoshrink.core import Candidate, Front, Target

if TYPE_CHECKING:
    from autoshrink.models.comparison import Classes, Values
    from autoshrink.techniques.weight_errors import WeightError

__all__ = ["Chosen", "Evidence", "Material"]


@dataclass(frozen=True)
class Chosen:
    """The candidate that a report describes."""

    candidate: Candidate
    why: str
    """Why this one, as the end of a sentence that begins with its number."""


@dataclass(frozen=True)
class Evidence:
    """What takes answers, data or the model; a text in a part's place says why it is missing."""

    comparison: Classes | Values | str
    pictures: Mapping[int, bytes] = field(default_factory=dict)
    """Examples of the test split on which the models differ, as PNG files, by their place in the split."""
    weights: tuple[WeightError, ...] | str = ""


@dataclass(frozen=True)
class Material:
    """A search, and what is known of the candidate that is described."""

    search: str
    target: Target
    front: Front
    confirmed: bool
    """Whether the whole front was scored on the test split."""
    hardware: Mapping[str, Any]
    """The device's fingerprint when the search began."""
    seconds: Mapping[str, float]
    """Where the search's time went."""
    chosen: Chosen | None
    evidence: Evidence
    lender: Candidate | None
    """Another candidate, whose training gave the described one its weights."""
    place: str
    """The folder that the commands are meant for."""
    commands: tuple[tuple[str, str], ...]
    """What repeats the search and the candidate: what a command does, and the command."""
    version: str
    made: str
    """When the report was written."""

    @property
    def original(self) -> Candidate:
        """The model that the user brought."""
        return self.front.judged[0].candidate
