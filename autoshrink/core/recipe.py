"""A recipe: one point of a space, an ordered tuple of technique settings, all scalars, with a content key."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any

from pydantic import ConfigDict, Field, field_validator, model_validator

from autoshrink.core.documents import Document, Frozen

__all__ = ["Recipe", "Scalar", "Setting", "content_key"]

Scalar = bool | int | float | str | None


class Setting(Frozen):
    """One technique with its settings, written flat: ``{kind: low_rank, rank_ratio: 0.4}``."""

    model_config = ConfigDict(extra="allow")

    kind: Annotated[str, Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _scalars_only(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for key, value in data.items():
                if not isinstance(value, Scalar):
                    raise ValueError(f"{key!r} must be one value in a recipe, not {value!r} (ranges belong to a space)")
        return data

    @property
    def params(self) -> dict[str, Scalar]:
        """The settings without their kind."""
        return dict(self.model_extra or {})


class Recipe(Document):
    """An ordered tuple of settings; an empty one stands for the original model."""

    steps: tuple[Setting, ...] = ()

    @field_validator("steps")
    @classmethod
    def _each_kind_once(cls, steps: tuple[Setting, ...]) -> tuple[Setting, ...]:
        kinds = [step.kind for step in steps]
        for kind in kinds:
            if kinds.count(kind) > 1:
                raise ValueError(f"{kind!r} stands twice: a technique is used once in a recipe")
        return steps

    @property
    def key(self) -> str:
        """The content key: equal recipes have equal keys, whatever the order of their settings."""
        return content_key(self.model_dump(mode="json"))

    def setting(self, kind: str) -> Setting | None:
        """Give the setting of one technique, if the recipe uses it."""
        return next((step for step in self.steps if step.kind == kind), None)

    def describe(self) -> str:
        """Print the recipe on one line, for tables and hover texts."""
        shown = (f"{s.kind}({', '.join(f'{k}={_short(v)}' for k, v in s.params.items())})" for s in self.steps)
        return " → ".join(shown) or "original"


def content_key(data: object) -> str:
    """Hash JSON-like data into twelve hexadecimal digits."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _short(value: Scalar) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
