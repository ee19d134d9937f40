"""What a technique is: a frozen value of its settings, with one method that applies it.

A technique's file imports torch inside its functions, so that a target's spelling is checked in a fraction of a second.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Literal

from autoshrink.core import Chooser, Encoding, Range, Setting, Step
from autoshrink.core.documents import Frozen
from autoshrink.core.recipe import Scalar

if TYPE_CHECKING:
    from torch import nn

    from autoshrink.models.recovery import Recovery, Rung
    from autoshrink.models.workload import Workload

__all__ = ["Accepts", "Context", "Stage", "Technique", "draw_params"]

Accepts = Callable[[Encoding], str]
"""Says why backend and device can't execute an encoding; empty when they can."""


class Stage(enum.IntEnum):
    """When a technique is applied: shapes first, then weights, then number formats."""

    STRUCTURE = 0
    RECOVERY = 1
    ENCODING = 2


@dataclass(frozen=True)
class Context:
    """What a technique may look at while it is applied.

    ``recovery`` holds the settings of the recipe's distillation step, for techniques that fine-tune; None in a recipe
    without one (no gradient step is taken then). ``rung`` is how much of it the step itself does, and ``workload`` has
    that rung's part of the training data.
    """

    workload: Workload
    recovery: Recovery | None = None
    seed: int = 0
    rung: Rung | None = None
    only_shapes: bool = False
    """Whether the weights will be replaced by known ones, so that fitting them would be wasted."""


class Technique(Frozen, ABC):
    """One way to compress; its pydantic fields are its settings, all scalars with defaults where one is sensible."""

    kind: ClassVar[str]
    """The name in recipes, and of the technique's file."""
    stage: ClassVar[Stage]
    order: ClassVar[int] = 50
    """The place among the techniques of one stage, lower first: what removes channels goes before what zeroes weights,
    what limits the values of weights before what rounds them."""
    only_with: ClassVar[Mapping[str, tuple[str, Scalar]]] = {}
    """Settings that have an effect only where another one has a value: name → (the other, its value)."""

    stronger: ClassVar[Mapping[str, Literal["low", "high"]]] = {}
    """Settings that shrink what the device has to store or compute, and at which end they shrink it most."""

    epochs_of: ClassVar[str] = ""
    """The setting that says how long a technique of encoding trains by itself, in a recipe with a recovery; 0: not."""

    @abstractmethod
    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Compress a model that the technique owns, and return it (or another).

        Raises:
            Refusal: this model has nothing that the technique can work on, or the settings don't fit it.
        """

    def encode(self, encoding: Encoding, model: nn.Module) -> Encoding:
        """Add what the backend has to do on export; most techniques add nothing.

        Called right after `apply`, with the model that it returned.
        """
        return encoding

    def recovery(self) -> Recovery | None:
        """Give the settings that the recipe's other techniques fine-tune with; None unless this is a recovery step."""
        return None

    def idle(self, *, recovered: bool) -> frozenset[str]:
        """Name the settings that have no effect beside the others, so that they don't change a recipe's key.

        Args:
            recovered: whether the recipe has a recovery step, without which nothing is fine-tuned.
        """
        return frozenset(name for name, (other, value) in self.only_with.items() if getattr(self, other) != value)

    def label(self) -> str:
        """Say in two or three words what this does, for tables that are read by people."""
        return self.kind.replace("_", " ")

    @classmethod
    def draw(cls, step: Step, choose: Chooser, accepts: Accepts) -> Setting | None:
        """Draw the settings of this technique from a space's step; None leaves the technique out.

        Only what `accepts` allows may be drawn, and only what matters: a setting without effect is not asked for.
        """
        if step.optional and not choose.choice(f"{step.kind}.use", (False, True)):
            return None
        drawn = draw_params(step, choose, tuple(cls.only_with))
        for name, (other, value) in cls.only_with.items():
            if drawn.get(other, cls.model_fields[other].default) == value:
                drawn |= draw_params(step, choose, tuple(key for key in step.params if key != name))
        return Setting.model_validate({"kind": step.kind, **drawn})


def draw_params(
    step: Step,
    choose: Chooser,
    without: tuple[str, ...] = (),
    among: Mapping[str, tuple[Scalar, ...]] = MappingProxyType({}),
) -> dict[str, object]:
    """Draw every setting of a step but those named, where it says so among fewer values than the step has."""
    drawn: dict[str, object] = {}
    for name, param in step.params.items():
        if name in without:
            continue
        param = among.get(name, param)
        if isinstance(param, Range):
            drawn[name] = choose.range(f"{step.kind}.{name}", param)
        elif isinstance(param, tuple):
            drawn[name] = choose.choice(f"{step.kind}.{name}", param) if len(param) > 1 else param[0]
        else:
            drawn[name] = param
    return drawn
