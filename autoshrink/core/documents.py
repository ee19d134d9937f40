"""YAML documents with positions: every error about a user's file names the file, the line and the key."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from autoshrink.core.errors import SpecError
from autoshrink.core.problems import KeyPath, problems, show_path, shown
from autoshrink.core.yaml_limits import check_nodes

__all__ = ["Document", "Frozen", "KeyPath", "Line", "Name", "Source", "read_yaml"]

_MOST_BYTES = 64 * 1024
_MOST_PROBLEMS = 20


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError(f"must be one line of printable text, not {shown(text)}")
    return text


Line = Annotated[str, AfterValidator(_one_line)]
"""Text that is printed among other text: names, and what tables and file names are made of."""
Name = Annotated[str, Field(min_length=1), AfterValidator(_one_line)]
"""A line that is not empty."""


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

    def moved(self, folder: Path) -> Source:
        """Give the source of the same document in another folder."""
        return Source(self.name, self.lines, folder, self.prefix)

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

    def __eq__(self, other: object) -> bool:
        """Compare the content: where a document was read does not make it another."""
        return (
            isinstance(other, Document)
            and type(self) is type(other)
            and self.__dict__ == other.__dict__
            and self.__pydantic_extra__ == other.__pydantic_extra__
        )

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
            raise source.error((), f"a {cls.__name__.lower()} is written as keys and values, not as {shown(data)}")
        try:
            document = cls.model_validate(data, context={"source": source})
        except ValidationError as failure:
            found = problems(cls, failure)
            lines = [source.located(path, message) for path, message in itertools.islice(found, _MOST_PROBLEMS)]
            more = failure.error_count() - _MOST_PROBLEMS
            lines += [f"{source.name}: and {more} more mistakes"] if more > 0 else []
            raise SpecError("\n".join(dict.fromkeys(lines))) from None
        document._source = source
        return document

    def to_yaml(self) -> str:
        """Write the document as YAML that `parse` reads to an equal value."""
        data = self.model_dump(mode="json", exclude_defaults=True)
        return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120)


def read_yaml(path: Path) -> tuple[object, Source]:
    """Read one YAML file with the safe loader.

    Returns:
        The plain data, and the source that knows the line of each key.

    Raises:
        SpecError: missing, unreadable or broken file, a key that is given twice, or what no such file needs and only
            harms: huge size or depth, aliases of aliases, tags, control characters.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        text = content.decode("utf-8-sig")
    except FileNotFoundError:
        raise SpecError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise SpecError(f"{path}: is a folder, not a YAML file") from None
    except (OSError, ValueError) as error:
        raise SpecError(f"{path}: can't be read: {error}") from None
    if len(content) > _MOST_BYTES:
        raise SpecError(f"{path}: is larger than the {_MOST_BYTES // 1024} KiB that a file of this kind may have")
    source = Source(str(path), folder=path.resolve().parent)

    def fault(node: yaml.Node, key: KeyPath, message: str) -> SpecError:
        source.lines[key] = node.start_mark.line + 1
        return source.error(key, message)

    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            raise SpecError(f"{path}: is empty")
        check_nodes(loader, node, fault)
        _collect_lines(node, (), source, set())
        data = loader.construct_document(node)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or error
        raise SpecError(f"{path}{line}: not valid YAML: {problem}") from None
    return data, source


def _collect_lines(node: yaml.Node, path: KeyPath, source: Source, inside: set[int]) -> None:
    source.lines.setdefault(path, node.start_mark.line + 1)
    if id(node) in inside or isinstance(node, yaml.ScalarNode):
        return  # an alias: its keys are known by where they were first written
    inside.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            key = (*path, key_node.value if isinstance(key_node.value, str) else "?")
            if key in source.lines:
                source.lines[key] = key_node.start_mark.line + 1
                raise source.error(key, "this key is given twice")
            source.lines[key] = key_node.start_mark.line + 1
            _collect_lines(value_node, key, source, inside)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _collect_lines(item, (*path, index), source, inside)
