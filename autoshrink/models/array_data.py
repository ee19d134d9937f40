"""Data as one file of arrays: an ``.npz`` with ``train_inputs``, ``train_labels``, ``validation_inputs`` and so on."""

from __future__ import annotations

from typing import Any

import numpy as np

from autoshrink.core import SpecError, nearest
from autoshrink.models.arrays import read_arrays
from autoshrink.models.user_code import UserCode

__all__ = ["read_npz"]

_AT = ("data",)
_SPLITS = ("train", "validation", "test", "calibration")
_PARTS = ("inputs", "labels")
_NEEDED = ("validation", "test")


def read_npz(name: str, code: UserCode) -> dict[str, Any]:
    """Read splits from an ``.npz`` file, in the form that a data function returns.

    Its arrays are named ``SPLIT_inputs`` and ``SPLIT_labels``; a model of several inputs has ``SPLIT_inputs.NAME`` for
    each of them. Labels, ``train`` and ``calibration`` may be left out.

    Raises:
        SpecError: it is no such file, is damaged, holds pickled objects or arrays of other names.
    """
    path = code.path(name, _AT)
    try:
        arrays = read_arrays(path)
    except SpecError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise code.source.error(_AT, f"{name}: {reason}; save it with numpy.savez, of plain numbers") from None
    splits: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    for key, array in arrays.items():
        split, part, argument = _place(name, key, code)
        found = splits.setdefault(split, {})
        found[part] = {**found.get(part, {}), argument: array}
    for split in dict.fromkeys((*_NEEDED, *splits)):
        if "inputs" not in splits.get(split, {}):
            there = ", ".join(arrays) or "nothing"
            raise code.source.error(_AT, f"{name} has no array {split}_inputs (it has {there[:200]})")
        if len(splits[split]["inputs"]) > 1 and "" in splits[split]["inputs"]:
            raise code.source.error(_AT, f"{name} has both {split}_inputs and {split}_inputs.NAME")
    return {
        split: (found["inputs"].get("", found["inputs"]), found.get("labels", {}).get(""))
        for split, found in splits.items()
    }


def _place(file: str, key: str, code: UserCode) -> tuple[str, str, str]:
    """Take an array's name apart: split, part, and the argument that it is for."""
    whole, _, argument = key.partition(".")
    split, _, part = whole.rpartition("_")
    if split not in _SPLITS or part not in _PARTS or (argument and part == "labels"):
        known = [f"{split}_{part}" for split in _SPLITS for part in _PARTS]
        raise code.source.error(_AT, f"{file} has an array {key!r}, which no split has; {nearest(key, known)}")
    return split, part, argument
