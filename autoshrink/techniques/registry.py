"""Techniques by name: a file ``techniques/<kind>.py`` holds the technique of that kind."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from pydantic import ValidationError

from autoshrink import techniques
from autoshrink.core import Chooser, Range, Recipe, Setting, Source, Space, SpecError, Step, nearest
from autoshrink.techniques.base import Accepts, Technique

__all__ = ["canonical", "check_recipe", "check_space", "draw", "kinds", "technique", "techniques_of"]

_NOT_TECHNIQUES = {"base", "registry", "pipeline"}


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
    return next(value for value in found if getattr(value, "kind", None) == kind)


def techniques_of(recipe: Recipe) -> tuple[Technique, ...]:
    """Build the techniques of a recipe, in the order in which they are applied.

    Raises:
        SpecError: an unknown technique or setting, or a value out of its range.
    """
    built = []
    for index, setting in enumerate(recipe.steps):
        at = ("steps", index)
        if setting.kind not in kinds():
            raise recipe.source.error((*at, "kind"), f"no technique {setting.kind!r}; {nearest(setting.kind, kinds())}")
        built.append(_build(setting, recipe.source, at))
    return tuple(sorted(built, key=lambda item: item.stage))


def canonical(recipe: Recipe) -> Recipe:
    """Spell out every default and the order of application, so that equal recipes have equal keys."""
    steps = tuple(
        Setting.model_validate({"kind": item.kind, **item.model_dump(mode="json", exclude_none=True)})
        for item in techniques_of(recipe)
    )
    return Recipe(steps=steps)


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
        at = ("steps", index)
        if step.kind not in kinds():
            raise space.source.error((*at, "kind"), f"no technique {step.kind!r}; {nearest(step.kind, kinds())}")
        for name in step.params:
            fields = technique(step.kind).model_fields
            if name not in fields:
                raise space.source.error((*at, name), f"{step.kind} has no such setting; {nearest(name, fields)}")
        for name, value in _ends(step):
            _build_field(step.kind, name, value, space.source, (*at, name))


def _ends(step: Step) -> list[tuple[str, object]]:
    ends: list[tuple[str, object]] = []
    for name, param in step.params.items():
        values = (param.low, param.high) if isinstance(param, Range) else param if isinstance(param, tuple) else (param,)
        ends += [(name, value) for value in values]
    return ends


def _build(setting: Setting, source: Source, at: tuple[str | int, ...]) -> Technique:
    cls = technique(setting.kind)
    try:
        return cls.model_validate(setting.params)
    except ValidationError as failure:
        error = failure.errors(include_url=False)[0]
        raise _located(setting.kind, error, source, at) from None


def _build_field(kind: str, name: str, value: object, source: Source, at: tuple[str | int, ...]) -> None:
    # Other required settings are absent here, and a rule that joins two settings is checked on the drawn recipe.
    try:
        technique(kind).model_validate({name: value})
    except ValidationError as failure:
        for error in failure.errors(include_url=False):
            if error["loc"][:1] == (name,):
                raise _located(kind, error, source, at[:-1]) from None


def _located(kind: str, error: object, source: Source, at: tuple[str | int, ...]) -> SpecError:
    assert isinstance(error, dict)
    path, message = error["loc"], error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = f"{kind} has no such setting; {nearest(str(path[0]), technique(kind).model_fields)}"
    elif error["type"] == "missing":
        message = f"{kind} needs this setting"
    elif error["type"] != "value_error":
        message = f"{message[:1].lower()}{message[1:]}, not {error['input']!r}"
    return source.error((*at, *path), message)
