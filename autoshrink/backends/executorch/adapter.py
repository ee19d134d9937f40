"""Run a ``model.pte`` on a device: this file is copied there and needs only numpy, torch and ExecuTorch."""

from __future__ import annotations

import importlib.metadata
import warnings
from collections.abc import Callable

import numpy as np
import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that its interface may change
    from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool
    from executorch.runtime import Method, Program, Runtime

__all__ = ["Session", "load"]

_TYPES = {
    0: "uint8", 1: "int8", 2: "int16", 3: "int32", 4: "int64", 5: "float16", 6: "float32", 7: "float64", 11: "bool",
}  # fmt: skip


class Session:
    """A loaded model; ``inputs`` lists name, dtype and shape. The file has no names: they count the inputs."""

    def __init__(self, program: Program, method: Method, notes: dict[str, object]) -> None:
        self._program = program  # which owns what the method reads
        self._method = method
        ports = [method.metadata.input_tensor_meta(index) for index in range(method.metadata.num_inputs())]
        self.inputs: list[dict[str, object]] = [
            {"name": f"input_{index}", "dtype": _TYPES[port.dtype()], "shape": list(port.sizes())}
            for index, port in enumerate(ports)
        ]
        self.notes = notes
        self.versions = {name: importlib.metadata.version(name) for name in ("executorch", "torch")}

    def run(self, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Run one batch."""
        return [output.numpy().copy() for output in self._method.execute(self._feed(arrays))]

    def bind(self, arrays: dict[str, np.ndarray]) -> Callable[[], None]:
        """Prepare one batch for timing; a run copies the outputs.

        Returns:
            A function that runs the batch once and returns when the outputs are complete.
        """
        feed, execute = self._feed(arrays), self._method.execute

        def run_once() -> None:
            execute(feed)

        return run_once

    def _feed(self, arrays: dict[str, np.ndarray]) -> list[torch.Tensor]:
        return [torch.from_numpy(np.ascontiguousarray(arrays[str(port["name"])])) for port in self.inputs]


def load(path: str, options: dict[str, object]) -> Session:
    """Open a model.

    Args:
        path: the ``.pte`` file.
        options: ``threads`` (default 1), for all models of this process.
    """
    threads = int(str(options.get("threads") or 1))
    _unsafe_reset_threadpool(threads)
    torch.set_num_threads(threads)  # operators that XNNPACK left over
    program = Runtime.get().load_program(path)
    method = program.load_method("forward")
    if method is None:
        raise RuntimeError("the file has no method 'forward'")
    return Session(program, method, {"threads": threads})
