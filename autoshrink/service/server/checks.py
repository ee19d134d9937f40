"""What a submitted target may be: checked before it is queued, without running anything of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoshrink.backends.registry import backend
from autoshrink.core import SearchSettings, Source, SpecError, Target, parse_quantity
from autoshrink.core.catalog import is_file
from autoshrink.core.documents import KeyPath, read_yaml
from autoshrink.techniques.registry import check_space

__all__ = ["Places", "check_project", "check_upload", "with_settings"]

_FILES = {"model": ".onnx", "data": ".npz", "weights": ".safetensors"}
"""What an uploaded target's files end in: formats that hold data alone."""
_MOST_WORKERS = max(2, os.cpu_count() or 1)
"""Of an uploaded target: each is a process with torch in it, and strangers shall not fill the memory."""


@dataclass(frozen=True)
class Places:
    """The folders of this machine that targets may lie in."""

    projects: Sequence[Path] = ()
    code: Sequence[Path] = ()
    """Those whose Python code may run; a folder of this kind is one of the other kind, too."""

    @property
    def all(self) -> list[Path]:
        """All of them, where they really are."""
        return [path.resolve() for path in (*self.projects, *self.code)]


def check_project(path: str, places: Places) -> Target:
    """Read a target that lies in one of the folders, and check it.

    Args:
        path: absolute, or relative to one of the folders.
        places: the folders.

    Raises:
        SpecError: it lies elsewhere, is wrong, names a file that is not there, or code that may not run.
    """
    if not places.all:
        raise SpecError("target: this service takes no paths (it was started without --projects): upload an archive")
    try:
        found = [(place / path).resolve() for place in places.all]
    except (OSError, ValueError, RuntimeError):
        raise SpecError("target: is no path") from None
    inside = [file for file, place in zip(found, places.all, strict=True) if file.is_relative_to(place)]
    if not inside:
        raise SpecError(f"target: {path!r} is in none of the folders that this service was allowed (--projects)")
    there = [file for file in inside if is_file(file)]
    if not there:
        raise SpecError(f"target: no file {path!r} in the folders that this service was allowed")
    if there[0].suffix not in (".yaml", ".yml"):
        raise SpecError(f"target: {path!r} is no .yaml file")
    target = Target.read(there[0])
    _check_parts(target)
    allowed = [place.resolve() for place in places.code]
    for key, name in _code(target):
        folders = (target.source.folder.resolve(), target.path(name).parent)
        if not all(any(folder.is_relative_to(place) for place in allowed) for folder in folders):
            raise target.source.error(
                (key,), f"{name!r} is Python code, which this service runs only from folders allowed with --allow-code"
            )
    for key, name in [*_code(target), *_files(target)]:
        if not is_file(target.path(name)):
            raise target.source.error((key,), f"no file {name!r} (looked for {target.path(name)})")
    return target


def check_upload(folder: Path) -> Target:
    """Read the target of an unpacked archive, and check that it names nothing but what came with it.

    Raises:
        SpecError: it is wrong, or names a file outside the archive, code, or another machine.
    """
    try:
        return _uploaded(folder)
    except SpecError as error:
        raise SpecError(str(error).replace(f"{folder}/", "").replace(f"{folder.resolve()}/", "")) from None


def _uploaded(folder: Path) -> Target:
    data, source = read_yaml(folder / "target.yaml")
    source.folder = folder.resolve()
    # Before it is parsed, as that opens these files: nobody shall have the service read the YAML of others.
    for key in (("hardware",), ("search", "space")):
        name = _at(data, key)
        if isinstance(name, str) and ("/" in name or name.endswith((".yaml", ".yml"))):
            _inside(source, key, name)
    target = Target.parse(data, source)
    _check_parts(target)
    if target.hardware.device not in ("local", "emulated"):
        raise source.error(
            ("hardware", "device"), f"{target.hardware.device!r}: an uploaded target is measured on local or emulated"
        )
    if target.search.workers > _MOST_WORKERS:
        raise source.error(("search", "workers"), f"{target.search.workers}: this service has {_MOST_WORKERS} at most")
    if ":" in target.metric:
        raise source.error(("metric",), f"{target.metric!r} is code: an archive brings none; name a built-in metric")
    for field, ending in _FILES.items():
        file: str | None = getattr(target, field)
        if file is None:
            continue
        if not file.endswith(ending):
            raise source.error((field,), f"{file!r}: an archive brings a {ending} file here, and no code")
        _inside(source, (field,), file)
    return target


def with_settings(target: Target, candidates: int | None, time: str | None) -> Target:
    """Put a submission's settings over the target's.

    Raises:
        SpecError: the time can't be read.
    """
    changes: dict[str, Any] = {} if candidates is None else {"candidates": candidates}
    if time is not None:
        try:
            changes["time"] = parse_quantity(time, "s")
        except ValueError as error:
            raise SpecError(f"time: {error}") from None
    search: SearchSettings = target.search.model_copy(update=changes)
    changed = target.model_copy(update={"search": search})
    changed._source = target.source
    return changed


def _check_parts(target: Target) -> None:
    check_space(target.search.space)
    try:
        backend(target.hardware.backend)
    except SpecError as error:
        raise target.source.error(("hardware",), str(error)) from None


def _code(target: Target) -> Iterator[tuple[str, str]]:
    for key in ("model", "data", "metric"):
        file, colon, _ = getattr(target, key).rpartition(":")
        if colon and file.endswith(".py"):
            yield key, file


def _files(target: Target) -> Iterator[tuple[str, str]]:
    code = {key for key, _ in _code(target)}
    for key, ending in _FILES.items():
        name = getattr(target, key)
        if name is not None and key not in code and (name.endswith(ending) or key == "weights"):
            yield key, name


def _inside(source: Source, key: KeyPath, name: str) -> None:
    path = (source.folder / name).resolve() if name.isprintable() else Path("/")
    if not path.is_relative_to(source.folder):
        raise source.error(key, f"{name!r} leads out of the archive")
    if not is_file(path):
        raise source.error(key, f"no file {name!r} in the archive")


def _at(data: object, key: KeyPath) -> object:
    for part in key:
        data = data.get(part) if isinstance(data, Mapping) else None
    return data
