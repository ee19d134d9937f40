"""The Python files beside a user's document: loaded by path, and their mistakes reported in the user's own terms."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from autoshrink.core import AutoshrinkError, Source, nearest
from autoshrink.core.catalog import is_file
from autoshrink.core.documents import KeyPath

__all__ = ["UserCode"]


class _FromSource(SourceFileLoader):
    """Reads no bytecode and writes none: to it, an edit of the same second and length would be no edit."""

    def path_stats(self, path: str) -> NoReturn:
        raise OSError("not asked for")


class UserCode:
    """Functions of the files in one folder.

    A file is loaded under a name of its own, so that no ``model.py`` hides another. Its folder is importable for its
    siblings until code of another folder is loaded: then they are forgotten, because theirs have the same names.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self._modules: dict[Path, ModuleType] = {}
        _make_importable(source.folder.resolve())

    def function(self, reference: str, key: KeyPath) -> Callable[..., Any]:
        """Find ``FILE.py:FUNCTION``, loading the file once.

        Raises:
            SpecError: there is no such file or function, or the file's own code fails.
        """
        file, colon, name = reference.rpartition(":")
        if not colon or not file.endswith(".py") or not name.isidentifier():
            raise self.source.error(key, f"{reference!r} is not FILE.py:FUNCTION, such as 'model.py:build'")
        module = self._module(self.path(file, key), key)
        found = getattr(module, name, None)
        if found is None:
            functions = [n for n, value in vars(module).items() if callable(value) and not n.startswith("_")]
            raise self.source.error(key, f"{file} has no function {name!r}; {nearest(name, functions)}")
        if not callable(found):
            raise self.source.error(key, f"{name!r} in {file} is a {type(found).__name__}, not a function")
        return found  # type: ignore[no-any-return]

    def path(self, name: str, key: KeyPath) -> Path:
        """Find a file relative to the folder.

        Raises:
            SpecError: there is none.
        """
        path = (self.source.folder / name).resolve()
        if not is_file(path):
            beside = [item.name for item in path.parent.glob(f"*{path.suffix}")] if path.parent.is_dir() else []
            hint = f"; {nearest(path.name, beside)}" if beside else ""
            raise self.source.error(key, f"no file {name!r} (looked for {path}){hint}")
        return path

    @contextmanager
    def guard(self, key: KeyPath, doing: str) -> Iterator[None]:
        """Turn whatever the user's code raises into one line: what it was doing, the user's line and the exception.

        Raises:
            SpecError: the code inside raised.
            AutoshrinkError: the memory was not enough; at another time it may be.
        """
        try:
            yield
        except AutoshrinkError:
            raise
        except (Exception, SystemExit) as error:  # the user's code may raise anything, and it is the user's to mend
            problem = self.source.error(key, f"{doing}: {self._where(error)}{_first_line(error)}")
            if isinstance(error, MemoryError):
                raise AutoshrinkError(str(problem)) from None
            raise problem from None

    def _module(self, path: Path, key: KeyPath) -> ModuleType:
        if path not in self._modules:
            name = f"autoshrink_user_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}_{path.stem}"
            spec = importlib.util.spec_from_file_location(name, path, loader=_FromSource(name, str(path)))
            if spec is None or spec.loader is None:
                raise self.source.error(key, f"{path} can't be loaded as Python")
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            with self.guard(key, f"{path.name} can't be loaded"):
                spec.loader.exec_module(module)
            self._modules[path] = module
        return self._modules[path]

    def _where(self, error: BaseException) -> str:
        if isinstance(error, SyntaxError) and error.filename:
            return f"{Path(error.filename).name}:{error.lineno}: "
        folder = self.source.folder.resolve()
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "site-packages" not in frame.filename]
        own = [frame for frame in frames if Path(frame.filename).resolve().is_relative_to(folder)]
        own = [frame for frame in own if not frame.filename.startswith(str(_PACKAGE))]
        return f"{Path(own[-1].filename).name}:{own[-1].lineno}: " if own else ""


_PACKAGE = Path(__file__).resolve().parents[1]
_importable: list[tuple[Path, frozenset[str]]] = []
"""The folder that was put on `sys.path`, with the names of the modules that were there before; `sys.path` is one for
the whole process, and so is this."""


def _make_importable(folder: Path) -> None:
    while _importable:
        last, before = _importable.pop()
        if str(last) in sys.path:
            sys.path.remove(str(last))
        for name in [name for name, module in sys.modules.items() if _is_sibling(name, module, last, before)]:
            del sys.modules[name]
    importlib.invalidate_caches()
    _importable.append((folder, frozenset(sys.modules)))
    sys.path.insert(0, str(folder))


def _is_sibling(name: str, module: ModuleType, folder: Path, before: frozenset[str]) -> bool:
    # Only what lies in the folder itself: a virtual environment inside the user's folder must stay loaded.
    top = name.partition(".")[0]
    if top in before:
        return False
    places = [folder / f"{top}.py", folder / top]
    file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    return file is not None and any(Path(file).resolve().is_relative_to(place.resolve()) for place in places)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else ""
    return f"{type(error).__name__}{f': {text[:400]}' if text else ''}"
