"""What a user's YAML file may hold: plain values, and no more of them than any such file needs."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable

import yaml

from autoshrink.core.errors import SpecError
from autoshrink.core.problems import KeyPath

__all__ = ["check_nodes"]

_DEEPEST = 24
_MOST = 1_000_000
"""Characters and values, with each alias counted as what it stands for."""
_LONGEST_NUMBER = 300
"""Digits, so that every whole number has a float that is near it."""
_PREFIX = "tag:yaml.org,2002:"
_SCALARS = ("null", "bool", "int", "float", "str", "merge")
_TURNS_TEXT = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}
"""Marks that have text printed in another order than it is written."""

Fault = Callable[[yaml.Node, KeyPath, str], SpecError]


def check_nodes(loader: yaml.SafeLoader, node: yaml.Node, fault: Fault) -> None:
    """Check what was composed, before anything is made of it.

    Args:
        loader: tells which values are plain.
        node: the whole document.
        fault: makes the error about the value of a key.

    Raises:
        SpecError: the document is too deep or too large, aliases stand for too much or for themselves, a value has a
            tag or is no plain one, or a text holds control characters.
    """
    _Check(loader, fault).size(node, (), 0)


class _Check:
    def __init__(self, loader: yaml.SafeLoader, fault: Fault) -> None:
        self._loader = loader
        self._fault = fault
        self._sizes: dict[int, tuple[int, int]] = {}
        self._inside: set[int] = set()

    def size(self, node: yaml.Node, path: KeyPath, depth: int) -> tuple[int, int]:
        """Give how much a node stands for, and how deep it goes."""
        if id(node) in self._inside:
            raise self._fault(node, path, "an alias stands for what it is a part of")
        if id(node) not in self._sizes:
            if depth > _DEEPEST:
                raise self._fault(node, path, f"is nested more than {_DEEPEST} levels deep")
            self._inside.add(id(node))
            self._sizes[id(node)] = self._measured(node, path, depth)
            self._inside.discard(id(node))
        size, deep = self._sizes[id(node)]
        if depth + deep > _DEEPEST:
            raise self._fault(node, path, f"is nested more than {_DEEPEST} levels deep")
        return size, deep

    def _measured(self, node: yaml.Node, path: KeyPath, depth: int) -> tuple[int, int]:
        if isinstance(node, yaml.ScalarNode):
            self._check_scalar(node, path)
            return 1 + len(node.value), 0
        if node.tag not in (f"{_PREFIX}map", f"{_PREFIX}seq"):
            raise self._fault(node, path, f"has the tag {node.tag!r}: leave it out")
        parts: list[tuple[yaml.Node, KeyPath]] = []
        for index, item in enumerate(node.value):
            if isinstance(item, tuple):
                key = (*path, item[0].value if isinstance(item[0].value, str) else "?")
                if item[0].tag not in (f"{_PREFIX}str", f"{_PREFIX}merge"):
                    raise self._fault(item[0], key, "a key must be text: put it in quotes")
                parts += [(item[0], key), (item[1], key)]
            else:
                parts.append((item, (*path, index)))
        total, deepest = 1, 0
        for part, key in parts:
            size, deep = self.size(part, key, depth + 1)
            total, deepest = total + size, max(deepest, deep + 1)
            if total > _MOST:
                raise self._fault(node, path, "its aliases stand for too much")
        return total, deepest

    def _check_scalar(self, node: yaml.ScalarNode, path: KeyPath) -> None:
        kind = node.tag.removeprefix(_PREFIX)
        plain = self._loader.resolve(yaml.ScalarNode, node.value, (True, False))  # type: ignore[no-untyped-call]
        if kind in ("timestamp", "value") and node.tag == plain:
            raise self._fault(node, path, f"{node.value!r} is no plain value in YAML: put it in quotes")
        if kind not in _SCALARS or (kind != "str" and node.tag != plain):
            raise self._fault(node, path, f"has the tag {node.tag!r}: leave it out")
        if kind == "int" and len(node.value) > _LONGEST_NUMBER:
            raise self._fault(node, path, "is too large a number")
        if kind == "float" and not math.isfinite(value := self._loader.construct_yaml_float(node)):
            raise self._fault(node, path, f"must be a finite number, not {value}")
        for letter in node.value:
            if _hidden(letter):
                raise self._fault(node, path, f"holds the control character {letter!a}")


def _hidden(letter: str) -> bool:
    return letter not in "\n\t" and (unicodedata.category(letter) in ("Cc", "Cs") or ord(letter) in _TURNS_TEXT)
