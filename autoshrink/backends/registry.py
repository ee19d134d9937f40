"""Backends by name: a file or folder ``backends/<kind>`` holds the backend of that kind."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from autoshrink import backends
from autoshrink.backends.base import Backend
from autoshrink.core import SpecError, nearest

__all__ = ["backend", "kinds"]

_NOT_BACKENDS = {"base", "changes", "measuring", "readiness", "registry"}


@functools.cache
def kinds() -> tuple[str, ...]:
    """Name every backend."""
    found = (module.name for module in pkgutil.iter_modules(backends.__path__))
    return tuple(sorted(name for name in found if name not in _NOT_BACKENDS and not name.startswith("_")))


@functools.cache
def backend(kind: str) -> Backend:
    """Find a backend; no runtime is imported yet.

    Raises:
        SpecError: there is none of this name.
    """
    if kind not in kinds():
        raise SpecError(f"no backend {kind!r}; {nearest(kind, kinds())}")
    module = importlib.import_module(f"autoshrink.backends.{kind}")
    found = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, Backend)]
    return next(value for value in found if getattr(value, "kind", None) == kind)()
