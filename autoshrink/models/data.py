"""From what the user's data function returns to splits in memory, with every mistake named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from autoshrink.core import SpecError, nearest
from autoshrink.models.splits import Split
from autoshrink.models.user_code import UserCode

__all__ = ["CALIBRATION_EXAMPLES", "read_splits"]

CALIBRATION_EXAMPLES = 256
"""How many examples calibrate when the user gives no calibration split."""
_KEY = ("data",)
_NAMES = ("train", "validation", "test", "calibration")
_FORMS = "(inputs, labels), inputs alone, or a map-style torch Dataset"


def read_splits(returned: object, code: UserCode) -> dict[str, Split]:
    """Read what a data function returned.

    Args:
        returned: a mapping or an object with ``train``, ``validation``, ``test`` and perhaps ``calibration``, or a
            tuple of them in this order. Without ``train`` nothing can be recovered, only compressed.
        code: where the function came from, for errors.

    Returns:
        The splits that there are; ``calibration`` always.

    Raises:
        SpecError: a split is missing, empty, of an unknown form, has lengths that differ or values that are not finite.
    """
    parts = _parts(returned, code)
    splits = {name: _Reader(code, name).split(value) for name, value in parts.items() if value is not None}
    for name in ("validation", "test"):
        if name not in splits:
            raise code.source.error(_KEY, f"the data function returns no {name!r} split")
    _check_alike(splits, code)
    if "calibration" not in splits:
        splits["calibration"] = _some(splits.get("train", splits["validation"]))
    return splits


def _parts(returned: object, code: UserCode) -> dict[str, object]:
    if isinstance(returned, Mapping):
        for name in returned:
            if name not in _NAMES:
                raise code.source.error(_KEY, f"unknown split {name!r}; {nearest(str(name), _NAMES)}")
        return dict(returned)
    if any(hasattr(returned, name) for name in _NAMES):
        return {name: getattr(returned, name, None) for name in _NAMES}
    if isinstance(returned, tuple | list) and len(returned) in (3, 4):
        return dict(zip(_NAMES, returned, strict=False))
    what = f"{len(returned)} values" if isinstance(returned, tuple | list) else f"a {type(returned).__name__}"
    raise code.source.error(
        _KEY, f"the data function returns {what}, not {{'train': …, 'validation': …, 'test': …}}, each {_FORMS}"
    )


def _some(split: Split) -> Split:
    generator = torch.Generator().manual_seed(0)
    index = torch.randperm(len(split), generator=generator)[:CALIBRATION_EXAMPLES]
    return split.rows(index.sort().values)


def _check_alike(splits: Mapping[str, Split], code: UserCode) -> None:
    first = splits["validation"]
    for name, split in splits.items():
        if split.names != first.names or len(split.inputs) != len(first.inputs):
            raise code.source.error(_KEY, f"{name} has inputs {split.describe()}, validation has {first.describe()}")
        for one, other in zip(split.inputs, first.inputs, strict=True):
            if one.shape[1:] != other.shape[1:] or one.dtype != other.dtype:
                raise code.source.error(
                    _KEY, f"{name} has inputs {split.describe()}, validation has {first.describe()}: "
                    "shapes may differ in the number of examples only"
                )  # fmt: skip
        if name != "calibration" and (split.labels is None) != (first.labels is None):
            raise code.source.error(_KEY, f"{name} and validation differ in whether they have labels")


class _Reader:
    """Reads one split; its name stands in every error."""

    def __init__(self, code: UserCode, name: str) -> None:
        self.code = code
        self.name = name

    def split(self, value: object) -> Split:
        if isinstance(value, IterableDataset | DataLoader):
            raise self.error(f"is a {type(value).__name__}: return {_FORMS}")
        if isinstance(value, Dataset):
            value = self._collate(value)
        inputs, labels = self._pair(value)
        names, tensors = self._inputs(inputs)
        given = None if labels is None else self._labels(labels)
        sizes = {f"inputs{_at(index, tensors)}": len(tensor) for index, tensor in enumerate(tensors)}
        if given is not None:
            sizes["labels"] = len(given)
        if len(set(sizes.values())) > 1:
            raise self.error("has " + " but ".join(f"{size} {what}" for what, size in sizes.items()))
        if not len(tensors[0]):
            raise self.error("is empty")
        return Split(tensors, given, names)

    def error(self, message: str) -> SpecError:
        return self.code.source.error(_KEY, f"the {self.name} split {message}")

    def _collate(self, dataset: Dataset[Any]) -> object:
        with self.code.guard(_KEY, f"the {self.name} split can't be read"):
            items = [dataset[index] for index in range(len(dataset))]  # type: ignore[arg-type]
        if not items:
            raise self.error("is empty")
        try:
            return default_collate(items)
        except (RuntimeError, TypeError) as failure:
            reason = str(failure).splitlines()[0]
            raise self.error(f"has examples that can't be stacked into one tensor: {reason}") from None

    def _pair(self, value: object) -> tuple[object, object]:
        if not isinstance(value, tuple | list):
            return value, None
        if len(value) == 1:
            return value[0], None
        if len(value) == 2:
            return value[0], value[1]
        raise self.error(f"is a {type(value).__name__} of {len(value)}: return {_FORMS}")

    def _inputs(self, inputs: object) -> tuple[tuple[str, ...], tuple[Tensor, ...]]:
        if isinstance(inputs, Mapping) and inputs:
            names = tuple(str(name) for name in inputs)
            return names, tuple(self._input(value, f"input {name!r}") for name, value in inputs.items())
        if isinstance(inputs, tuple | list) and inputs:
            return (), tuple(self._input(value, f"input {index}") for index, value in enumerate(inputs))
        return (), (self._input(inputs, "input"),)

    def _input(self, value: object, what: str) -> Tensor:
        tensor = self._tensor(value, what)
        if tensor.dim() == 0:
            raise self.error(f"has one number as {what}: the first dimension must count the examples")
        return tensor

    def _labels(self, labels: object) -> Tensor:
        if isinstance(labels, list | tuple):
            with self.code.guard(_KEY, f"the labels of the {self.name} split are not numbers"):
                labels = np.asarray(labels)
        tensor = self._tensor(labels, "labels")
        if tensor.dim() == 0:
            raise self.error("has one number as labels: there must be one for each example")
        return tensor.long() if tensor.dtype == torch.bool else tensor

    def _tensor(self, value: object, what: str) -> Tensor:
        if not isinstance(value, Tensor):
            if not hasattr(value, "__array__"):
                raise self.error(f"has a {type(value).__name__} as {what}: return {_FORMS}, made of tensors or arrays")
            array = np.ascontiguousarray(value)
            if array.dtype.kind not in "fiub":
                raise self.error(f"has {what} of type {array.dtype}: only numbers can be used")
            if array.dtype.kind == "u":
                array = array.astype(np.int64)
            value = torch.from_numpy(np.array(array))
        if value.is_complex():
            raise self.error(f"has complex numbers as {what}")
        tensor = value.detach().to("cpu", _dtype(value)).contiguous()
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            bad = (~torch.isfinite(tensor).reshape(len(tensor), -1).all(dim=1)).nonzero()[0].item()
            raise self.error(f"has values in its {what} that are NaN or infinite, first in example {bad}")
        return tensor


def _dtype(tensor: Tensor) -> torch.dtype:
    if tensor.is_floating_point():
        return torch.float32
    return torch.bool if tensor.dtype == torch.bool else torch.int64


def _at(index: int, tensors: tuple[Tensor, ...]) -> str:
    return f"[{index}]" if len(tensors) > 1 else ""
