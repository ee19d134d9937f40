"""Python runs this at its start where this folder is on its path: the drivers of the soak get workers that pretend."""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_WHERE = "autoshrink.service.run"


class _Pretending(importlib.abc.MetaPathFinder):
    """Puts another pool into the module that runs searches, as soon as that is imported."""

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != _WHERE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        load = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            load(module)
            from soak_pool import Pretending

            module.Pool = Pretending  # type: ignore[attr-defined]

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, _Pretending())
