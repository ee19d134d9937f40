"""What differs between two fingerprints of a device, and whether files made for the one are right for the other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from autoshrink.core.documents import Frozen

__all__ = ["Change", "changes", "exports_alike"]

_EXPORT = ("versions", "profile.backend", "profile.kind", "profile.options", "profile.capabilities")
"""What the content of an artifact's files may depend on."""


class Change(Frozen):
    """One fact that is another one now; None stands for a fact that was or is not there."""

    what: str
    """The fact's place in the fingerprint: ``profile.threads``."""
    before: Any = None
    after: Any = None

    def to_words(self) -> str:
        """Print it on one line: ``profile.threads: 1 → 4``."""
        return f"{self.what}: {_shown(self.before)} → {_shown(self.after)}"


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    """List the facts that differ between two fingerprints, of `autoshrink.backends.measuring.fingerprint`."""
    old, new = dict(_facts(before)), dict(_facts(after))
    names = sorted(old.keys() | new.keys())
    return tuple(
        Change(what=name, before=old.get(name), after=new.get(name)) for name in names if old.get(name) != new.get(name)
    )


def exports_alike(found: tuple[Change, ...]) -> bool:
    """Whether an export after these changes would write the files that it wrote before."""
    return not any(change.what.startswith(_EXPORT) for change in found)


def _facts(fingerprint: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    plain = json.loads(json.dumps({name: value for name, value in fingerprint.items() if name != "key"}))
    return _flat(plain, "")


def _flat(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict):
        yield name, value
        return
    for key, inner in value.items():
        yield from _flat(inner, f"{name}.{key}" if name else key)


def _shown(value: Any) -> str:
    return "nothing" if value is None else value if isinstance(value, str) else json.dumps(value)
