"""What is wrong with a user's data, in plain words: which key, what it must be, and what is known instead."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

__all__ = ["KeyPath", "KeyProblem", "nearest", "problems", "show_path", "shown"]

KeyPath = tuple[str | int, ...]

_MUST = {
    "string_type": "text",
    "string_too_short": "text that is not empty",
    "model_type": "keys and values",
    "model_attributes_type": "keys and values",
    "dict_type": "keys and values",
    "mapping_type": "keys and values",
    "tuple_type": "a list",
    "list_type": "a list",
    "too_short": "a list of {min_length} or more",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
    "literal_error": "{expected}",
}
"""What a value must be, by pydantic's kind of error, in words for somebody who never saw pydantic."""


class KeyProblem(ValueError):
    """What is wrong with one key below the value that a validator looks at."""

    def __init__(self, path: KeyPath, message: str) -> None:
        super().__init__(message)
        self.path = path


def nearest(word: str, known: Iterable[str]) -> str:
    """Say what is known instead of a word, the nearest first."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.55)
    listed = f"known: {', '.join(known) or 'none'}"
    return f"did you mean {close[0]!r}? ({listed})" if close else listed


def show_path(path: KeyPath) -> str:
    """Print a key path as a person would write it: ``steps[0].ratio``."""
    text = ""
    for part in path:
        word = part if isinstance(part, int) or str(part).isprintable() else repr(part)
        text += f"[{word}]" if isinstance(part, int) else f".{word}" if text else str(word)
    return text


def shown(value: object) -> str:
    """Print a value that is not what it should be, however large it is."""
    if isinstance(value, Mapping):
        return "keys and values"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    text = "nothing" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def problems(cls: type[BaseModel], failure: ValidationError) -> Iterator[tuple[KeyPath, str]]:
    """Say in plain words what is wrong with data, as pairs of key and message."""
    for error in failure.errors(include_url=False):
        path = tuple(error["loc"])
        cause = error.get("ctx", {}).get("error")
        if isinstance(cause, KeyProblem):
            path += cause.path
        if error["type"] == "invalid_key":
            path = (*path[:-1], str(path[-1]))
        yield path, _message(cls, path, error)


def _message(cls: type[BaseModel], path: KeyPath, error: ErrorDetails) -> str:
    kind = error["type"]
    if kind == "extra_forbidden":
        return f"unknown key; {nearest(str(path[-1]), _keys(_model_at(cls, path[:-1])))}"
    if kind == "missing":
        return "this key is missing"
    if kind == "invalid_key":
        return "a key must be text: put it in quotes"
    if kind in _MUST:
        bounds = {key: f"{x:g}" if isinstance(x, float) else x for key, x in error.get("ctx", {}).items()}
        return f"must be {_MUST[kind].format(**bounds)}, not {shown(error['input'])}"
    message = error["msg"].removeprefix("Value error, ")
    return message if kind == "value_error" else f"{message[:1].lower()}{message[1:]}, not {shown(error['input'])}"


def _model_at(cls: type[BaseModel], path: KeyPath) -> type[BaseModel] | None:
    model: type[BaseModel] | None = cls
    for part in path:
        field = model.model_fields.get(str(part)) if model else None
        model = _find_model(field.annotation) if field else model if isinstance(part, int) else None
    return model


def _find_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (tuple, list, typing.Union, types.UnionType, typing.Annotated):
        return next((m for arg in typing.get_args(annotation) if (m := _find_model(arg))), None)
    return None


def _keys(model: type[BaseModel] | None) -> list[str]:
    return list(model.model_fields) if model else []
