"""One call of a torch operator, with its arguments by name, and the table of rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from autoshrink.backends.cortex_m.convert.builder import Builder, Value
from autoshrink.core import Refusal

__all__ = ["Call", "Rule", "Rules", "pair"]


@dataclass(frozen=True)
class Call:
    """A torch operator that reads at least one activation; activations are values, all else is what torch has."""

    operator: str
    arguments: Mapping[str, Any]
    shape: tuple[int, ...]
    """What torch gives, for one example."""
    where: str
    """The module, as an error names it."""

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def value(self, name: str) -> Value:
        """Get an argument that has to be an activation."""
        found = self.arguments[name]
        if not isinstance(found, Value):
            raise self.refusal(f"with a constant {name!r}")
        return found

    def constant(self, name: str) -> Tensor | None:
        """Get an argument that has to be a constant tensor or None."""
        found = self.arguments[name]
        if isinstance(found, Value):
            raise self.refusal(f"with a computed {name!r}")
        return found  # type: ignore[no-any-return]

    def refusal(self, why: str = "") -> Refusal:
        """Make the error for what has no int8 kernel."""
        what = f"{self.operator} {why}" if why else self.operator
        return Refusal(f"{what} in {self.where} has no int8 kernel on a microcontroller")


Rule = Callable[[Builder, Call], Value]
Rules = dict[str, Rule]


def pair(setting: int | list[int] | tuple[int, ...], dims: int, default: int = 1) -> tuple[int, int]:
    """Read a setting of a window over one or two dimensions as (height, width)."""
    values = [setting] if isinstance(setting, int) else list(setting)
    if len(values) == 1:
        values = values * dims
    height, width = ([default] * 2 + values)[-2:]
    return height, width
