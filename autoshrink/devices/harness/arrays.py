"""Inputs and outputs of an artifact as named arrays."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from .gpu import Replay

__all__ = ["Arrays", "bound", "fit", "invent", "predict", "read"]

Arrays = dict[str, np.ndarray]


def read(path: str) -> Arrays:
    """Read named arrays; nothing is unpickled."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def fit(arrays: Arrays, inputs: list[dict[str, Any]]) -> Arrays:
    """Give arrays the artifact's names and number types; arrays under other names count in their order.

    Raises:
        ValueError: there are more or fewer arrays than inputs.
    """
    names = [str(spec["name"]) for spec in inputs]
    if len(arrays) != len(names):
        raise ValueError(f"the artifact takes {len(names)} inputs ({', '.join(names)}), {len(arrays)} were given")
    if set(names) != set(arrays):
        arrays = dict(zip(names, arrays.values(), strict=True))
    return {str(spec["name"]): np.ascontiguousarray(arrays[spec["name"]], dtype=spec["dtype"]) for spec in inputs}


def invent(inputs: list[dict[str, Any]]) -> Arrays:
    """Make one example of normal numbers, or of zeros for integers, where there is no data.

    Raises:
        ValueError: a dimension other than the first is free, or the memory is not enough for an input.
    """
    room = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    generator = np.random.default_rng(0)
    arrays = {}
    for spec in inputs:
        shape = [size or 1 for size in spec["shape"][:1]] + [*spec["shape"][1:]]
        if not all(isinstance(size, int) and size > 0 for size in shape):
            raise ValueError(f"the input {spec['name']} has the free shape {spec['shape']}: it needs an example")
        if 8 * math.prod(shape) > room:
            raise ValueError(f"the input {spec['name']} of shape {spec['shape']} is larger than this machine's memory")
        floats = np.issubdtype(np.dtype(spec["dtype"]), np.floating)
        arrays[str(spec["name"])] = generator.standard_normal(shape) if floats else np.zeros(shape)
    return arrays


def predict(artifact: Any, arrays: Arrays, size: int) -> np.ndarray:
    """Run an artifact over all examples, ``size`` at a time, or as many as it has room for.

    Returns:
        The first output, shape (examples, …).

    Raises:
        ValueError: the artifact has room for several examples, and their number is no multiple of that.
    """
    arrays = fit(arrays, artifact.inputs)
    count = len(next(iter(arrays.values())))
    rows = next(iter(artifact.inputs[0]["shape"]), None)
    if rows is not None:
        if count % rows:
            raise ValueError(f"the artifact takes {rows} examples at a time, and {count} are no multiple of that")
        size = rows
    batches = ({name: array[at : at + size] for name, array in arrays.items()} for at in range(0, count, size))
    return np.concatenate([np.asarray(artifact.run(batch)[0]) for batch in batches])


def bound(artifact: Any, example: Arrays) -> Callable[[], Any]:
    """Prepare a run with as little around it as the runtime allows; on a GPU, one that has a clock of its own."""
    if hasattr(artifact, "launch"):
        return Replay(artifact.launch(example), artifact.graphs)
    if hasattr(artifact, "bind"):
        call: Callable[[], Any] = artifact.bind(example)
        return call
    return lambda: artifact.run(example)
