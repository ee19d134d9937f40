"""Techniques by name: a file ``techniques/<kind>.py`` holds the technique of that kind."""

from __future__ import annotations

import functools
import importlib
import math
import pkgutil

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from autoshrink import techniques
from autoshrink.core import Chooser, Range, Recipe, Setting, Source, Space, SpecError, nearest
from autoshrink.core.documents import KeyPath
from autoshrink.core.recipe import Scalar
from autoshrink.core.space import Values
from autoshrink.techniques.base import Accepts, Stage, Technique

__all__ = [
    "canonical",
    "check_recipe",
    "check_space",
    "draw",
    "kinds",
    "recovery_of",
    "settled",
    "technique",
    "techniques_of",
    "until",
    "untrained",
]

_NOT_TECHNIQUES = {"base", "registry", "pipeline", "sensitivity", "weight_errors"}


@functools.cache
def kinds() -> tuple[str, ...]:
    """Name every technique."""
    found = (module.name for module in pkgutil.iter_modules(techniques.__path__))
    return tuple(sorted(name for name in found if name not in _NOT_TECHNIQUES and not name.startswith("_")))


@functools.cache
def technique(kind: str) -> type[Technique]:
    """Find a technique.

    Raises:
        SpecError: there is none of this name.
    """
    if kind not in kinds():
        raise SpecError(f"no technique {kind!r}; {nearest(kind, kinds())}")
    module = importlib.import_module(f"autoshrink.techniques.{kind}")
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Technique) and value.__module__ == module.__name__
    ]
    for value in found:
        if getattr(value, "kind", None) == kind:
            return value
    raise TypeError(f"{module.__file__} holds no Technique whose kind is {kind!r}")


def techniques_of(recipe: Recipe) -> tuple[Technique, ...]:
    """Build the techniques of a recipe, in the order in which they are applied.

    Raises:
        SpecError: an unknown technique or setting, or a value out of its range.
    """
    built = []
    for index, setting in enumerate(recipe.steps):
        at: KeyPath = ("steps", index)
        if setting.kind not in kinds():
            raise recipe.source.error((*at, "kind"), f"no technique {setting.kind!r}; {nearest(setting.kind, kinds())}")
        built.append(_build(setting, recipe.source, at))
    return tuple(sorted(built, key=lambda item: (item.stage, item.order, item.kind)))


def canonical(recipe: Recipe) -> Recipe:
    """Spell out every default that matters and the order of application, so that equal recipes have equal keys.

    Raises:
        SpecError: an unknown technique or setting, or a value out of its range.
    """
    items = techniques_of(recipe)
    recovered = any(item.stage is Stage.RECOVERY for item in items)
    steps = []
    for item in items:
        params = item.model_dump(mode="json", exclude_none=True, exclude=set(item.idle(recovered=recovered)))
        steps.append(Setting.model_validate({"kind": item.kind, **params}))
    return Recipe(steps=tuple(steps))


def until(recipe: Recipe, last: Stage) -> Recipe:
    """Cut a recipe off after a stage: what it has in common with recipes that differ in what follows."""
    steps = (setting for setting in recipe.steps if technique(setting.kind).stage <= last)
    return canonical(Recipe(steps=tuple(steps)))


def recovery_of(recipe: Recipe) -> Recipe:
    """Leave everything but the recovery out."""
    return Recipe(steps=tuple(step for step in recipe.steps if technique(step.kind).stage is Stage.RECOVERY))


def untrained(recipe: Recipe) -> Recipe:
    """Leave the recovery out: what costs the same on the device, as long as shapes and number formats decide."""
    steps = (setting for setting in recipe.steps if technique(setting.kind).stage is not Stage.RECOVERY)
    return canonical(Recipe(steps=tuple(steps)))


def settled(recipe: Recipe) -> Recipe:
    """Leave the training inside the encoding out: with the recovery's weights known, no gradient step is left."""
    steps = []
    for step in recipe.steps:
        length = technique(step.kind).epochs_of
        steps.append(step.model_copy(update={length: 0}) if step.params.get(length) else step)
    return canonical(Recipe(steps=tuple(steps)))


def draw(space: Space, choose: Chooser, accepts: Accepts) -> Recipe:
    """Draw one canonical recipe of a space, cut to what backend and device can execute."""
    drawn = (technique(step.kind).draw(step, choose, accepts) for step in space.steps)
    return canonical(Recipe(steps=tuple(setting for setting in drawn if setting is not None)))


def check_recipe(recipe: Recipe) -> None:
    """Check every technique and setting of a recipe.

    Raises:
        SpecError: what is wrong, with file, line and key.
    """
    techniques_of(recipe)


def check_space(space: Space) -> None:
    """Check every technique, setting and end of a range of a space, before anything is drawn.

    Raises:
        SpecError: what is wrong, with file, line and key.
    """
    for index, step in enumerate(space.steps):
        at: KeyPath = ("steps", index)
        if step.kind not in kinds():
            raise space.source.error((*at, "kind"), f"no technique {step.kind!r}; {nearest(step.kind, kinds())}")
        fields = technique(step.kind).model_fields
        for name, param in step.params.items():
            if name not in fields:
                raise space.source.error((*at, name), f"{step.kind} has no such setting; {nearest(name, fields)}")
            for value in _samples(param):
                _check_value(step.kind, name, value, space.source, (*at, name))
        # What joins two settings, or a setting that is missing, shows on the corners of the step.
        for last in (False, True):
            drawn = technique(step.kind).draw(step, _Corner(last), lambda encoding: "")
            if drawn is not None:
                _build(drawn, space.source, at)


class _Corner:
    """Chooses the first or the last value of everything, and never leaves an optional technique out."""

    def __init__(self, last: bool) -> None:
        self._last = last

    def choice(self, name: str, values: Values) -> Scalar:
        return True if values == (False, True) else values[-1 if self._last else 0]

    def range(self, name: str, interval: Range) -> int | float:
        return interval.high if self._last else interval.low


def _samples(param: Scalar | Values | Range) -> Values:
    if isinstance(param, Range):
        # A fraction between whole ends: what takes whole numbers only must not be drawn from such a range.
        between = () if param.whole else ((param.low + (param.step or (param.high - param.low) / math.pi)),)
        return (param.low, *between, param.high)
    return param if isinstance(param, tuple) else (param,)


def _build(setting: Setting, source: Source, at: KeyPath) -> Technique:
    cls = technique(setting.kind)
    try:
        return cls.model_validate(setting.params)
    except ValidationError as failure:
        error = failure.errors(include_url=False)[0]
        raise _located(setting.kind, error, source, at) from None


def _check_value(kind: str, name: str, value: object, source: Source, at: KeyPath) -> None:
    # The step's other settings are absent here, so that only errors of this one count.
    try:
        technique(kind).model_validate({name: value})
    except ValidationError as failure:
        for error in failure.errors(include_url=False):
            if error["loc"][:1] == (name,):
                raise _located(kind, error, source, at[:-1]) from None


def _located(kind: str, error: ErrorDetails, source: Source, at: KeyPath) -> SpecError:
    path, message = error["loc"], error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = f"{kind} has no such setting; {nearest(str(path[0]), technique(kind).model_fields)}"
    elif error["type"] == "missing":
        message = f"{kind} needs this setting"
    elif error["type"] != "value_error":
        message = f"{message[:1].lower()}{message[1:]}, not {error['input']!r}"
    return source.error((*at, *path), message)
