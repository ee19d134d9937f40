"""Run a ``model-symbol.json`` on a device: this file is copied there and needs only numpy and MXNet."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable
from typing import Any

# Read when MXNet is imported: operators run at once in the calling thread, which saves 40 µs and more a run of
# handing them to others, and it says nothing of its fusing.
os.environ.setdefault("MXNET_ENGINE_TYPE", "NaiveEngine")
os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")

import mxnet as mx
import numpy as np

__all__ = ["Session", "load"]


class Session:
    """A bound model; ``inputs`` lists name, dtype and shape. Everything is float32 in MXNet, integers too."""

    def __init__(self, symbol: Any, parameters: dict[str, Any], notes: dict[str, object]) -> None:
        names = [name for name in symbol.list_arguments() if name not in parameters]
        written = symbol.attr_dict()
        shapes = {name: ast.literal_eval(written.get(name, {}).get("__shape__", "()")) for name in names}
        unknown = [name for name, shape in shapes.items() if not shape]
        if unknown:
            raise ValueError(f"the symbol does not say the shape of {', '.join(unknown)}")
        self.inputs: list[dict[str, object]] = [
            {"name": name, "dtype": "float32", "shape": list(shape)} for name, shape in shapes.items()
        ]
        held = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        self._given = {name: array[...] for name, array in held.items()}
        shared = {name: mx.nd.from_numpy(array) for name, array in held.items()}
        self._executor = symbol.bind(mx.cpu(), {**parameters, **shared}, grad_req="null")
        self.notes = notes
        self.versions = {"mxnet": mx.__version__, "numpy": np.__version__}

    @classmethod
    def open(cls, path: str, notes: dict[str, object] | None = None) -> Session:
        """Open a symbol's file, with its parameters beside it; neither can hold code."""
        found = mx.nd.load(path.removesuffix("-symbol.json") + "-0000.params")
        # A list where there are none.
        named = {name.partition(":")[2]: array for name, array in found.items()} if isinstance(found, dict) else {}
        return cls(mx.sym.load(path), named, notes or {})

    def run(self, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Run one batch."""
        self.bind(arrays)()
        return [output.asnumpy() for output in self._executor.outputs]

    def bind(self, arrays: dict[str, np.ndarray]) -> Callable[[], None]:
        """Prepare one batch for timing: inputs are copied in, the model is run, outputs are read in place.

        MXNet reads the inputs where NumPy keeps them: to assign to an array of its own takes 40 µs.

        Returns:
            A function that does so once.
        """
        feed = [(array, np.ascontiguousarray(arrays[name], np.float32)) for name, array in self._given.items()]
        forward, outputs = self._executor.forward, self._executor.outputs

        def run_once() -> None:
            for array, values in feed:
                np.copyto(array, values)
            forward(False)
            outputs[0].wait_to_read()

        return run_once


def load(path: str, options: dict[str, object]) -> Session:
    """Open a model.

    Args:
        path: the ``-symbol.json`` file, with its parameters beside it.
        options: ``threads`` (default 1), as ``OMP_NUM_THREADS`` says already.
    """
    return Session.open(
        path, {"threads": int(str(options.get("threads") or 1)), "engine": os.environ["MXNET_ENGINE_TYPE"]}
    )
