"""A recipe: one point of a space, an ordered tuple of technique settings, all scalars, with a content key."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

from pydantic import ConfigDict, field_validator, model_validator

from autoshrink.core.documents import Document, Frozen, Name
from autoshrink.core.problems import KeyProblem, shown

__all__ = ["Recipe", "Scalar", "Setting", "content_key", "is_scalar"]

Scalar = bool | int | float | str | None


class Setting(Frozen):
    """One technique with its settings, written flat: ``{kind: low_rank, rank_ratio: 0.4}``."""

    model_config = ConfigDict(extra="allow")

    kind: Name

    @model_validator(mode="before")
    @classmethod
    def _scalars_only(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for key, value in data.items():
                if not is_scalar(value):
                    raise KeyProblem((str(key),), f"must be one plain value in a recipe, not {shown(value)}")
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
        for index, kind in enumerate(kinds):
            if kind in kinds[:index]:
                raise KeyProblem((index, "kind"), f"{kind!r} stands twice: a technique is used once in a recipe")
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


def is_scalar(value: object) -> bool:
    """Say whether a value can be a setting in a recipe: text, a finite number, true, false or nothing."""
    return isinstance(value, Scalar) and not (isinstance(value, float) and not math.isfinite(value))


def content_key(data: object) -> str:
    """Hash JSON-like data into twelve hexadecimal digits."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _short(value: Scalar) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
