"""YAML documents with positions: every error about a user's file names the file, the line and the key."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError

from autoshrink.core.errors import SpecError

__all__ = ["Document", "Frozen", "KeyPath", "Source", "nearest", "read_yaml"]

KeyPath = tuple[str | int, ...]


class Source:
    """Where a document came from: the file, and the line of each of its keys."""

    def __init__(
        self,
        name: str,
        lines: Mapping[KeyPath, int] | None = None,
        folder: Path | None = None,
        prefix: KeyPath = (),
    ) -> None:
        self.name = name
        self.lines = dict(lines or {})
        self.folder = folder or Path.cwd()
        self.prefix = prefix

    def under(self, key: KeyPath) -> Source:
        """Give the source of a document that is written inline under a key of this one."""
        lines = {path[len(key) :]: line for path, line in self.lines.items() if path[: len(key)] == key}
        return Source(self.name, lines, self.folder, (*self.prefix, *key))

    def error(self, path: KeyPath, message: str) -> SpecError:
        """Make the error for one key; the caller raises it."""
        return SpecError(self.located(path, message))

    def located(self, path: KeyPath, message: str) -> str:
        """Put file, line and key before a message."""
        known = next((path[:n] for n in range(len(path), -1, -1) if path[:n] in self.lines), None)
        line = f":{self.lines[known]}" if known is not None else ""
        key = show_path((*self.prefix, *path))
        return f"{self.name}{line}: {key + ': ' if key else ''}{message}"


class Frozen(BaseModel):
    """A frozen value that knows its keys: an unknown one is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Document(Frozen):
    """A frozen value that a user writes as YAML, and that remembers where it was read."""

    _source: Source = PrivateAttr(default_factory=lambda: Source("<python>"))

    @property
    def source(self) -> Source:
        """Where this document was read, for errors that show only later."""
        return self._source

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and check a YAML file.

        Raises:
            SpecError: the file can't be read, isn't YAML, or breaks the format; it names every problem found.
        """
        data, source = read_yaml(path)
        return cls.parse(data, source)

    @classmethod
    def parse(cls, data: object, source: Source) -> Self:
        """Check already read YAML data.

        Raises:
            SpecError: the data break the format; it names every problem found.
        """
        if not isinstance(data, Mapping):
            raise source.error((), f"a {cls.__name__.lower()} is written as keys and values, not as {_kind(data)}")
        try:
            document = cls.model_validate(data, context={"source": source})
        except ValidationError as failure:
            raise SpecError("\n".join(dict.fromkeys(_explain(cls, failure, source)))) from None
        document._source = source
        return document

    def to_yaml(self) -> str:
        """Write the document as YAML that `parse` reads to an equal value."""
        data = self.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120)


def read_yaml(path: Path) -> tuple[object, Source]:
    """Read one YAML file with the safe loader.

    Returns:
        The plain data, and the source that knows the line of each key.

    Raises:
        SpecError: missing, unreadable or broken file, or a key that is given twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise SpecError(f"{path}: is a folder, not a YAML file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: can't be read: {error}") from None
    source = Source(str(path), folder=path.resolve().parent)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or error
        raise SpecError(f"{path}{line}: not valid YAML: {problem}") from None
    if node is None:
        raise SpecError(f"{path}: is empty")
    _collect_lines(node, (), source)
    return data, source


def nearest(word: str, known: Iterable[str]) -> str:
    """Say what is known instead of a word, the nearest first."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.55)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}(known: {', '.join(known)})"


def show_path(path: KeyPath) -> str:
    """Print a key path as a person would write it: ``steps[0].ratio``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _collect_lines(node: yaml.Node, path: KeyPath, source: Source) -> None:
    source.lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            key = (*path, key_node.value if isinstance(key_node.value, str) else "?")
            if key in source.lines:
                source.lines[key] = key_node.start_mark.line + 1
                raise source.error(key, "this key is given twice")
            source.lines[key] = key_node.start_mark.line + 1
            _collect_lines(value_node, key, source)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _collect_lines(item, (*path, index), source)


def _explain(cls: type[BaseModel], failure: ValidationError, source: Source) -> Iterable[str]:
    for error in failure.errors(include_url=False):
        path = tuple(part for part in error["loc"])
        model = _model_at(cls, path[:-1])
        if error["type"] == "extra_forbidden":
            yield source.located(path, f"unknown key; {nearest(str(path[-1]), _keys(model))}")
        elif error["type"] == "missing":
            yield source.located(path, "this key is missing")
        else:
            message = error["msg"].removeprefix("Value error, ")
            given = error["input"]
            shown = "" if error["type"] == "value_error" else f", not {_kind(given)}"
            yield source.located(path, message[:1].lower() + message[1:] + shown)


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


def _kind(value: object) -> str:
    if isinstance(value, Mapping):
        return "keys and values"
    if isinstance(value, list | tuple):
        return "a list"
    return "nothing" if value is None else repr(value)
