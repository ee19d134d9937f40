"""Run a ``model.pte`` on a device: this file is copied there and needs only numpy, torch and ExecuTorch."""

from __future__ import annotations

import importlib.metadata
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

try:
    # What `executorch.runtime` wraps; that one imports the compiler too, which takes every process 4 s.
    from executorch.extension.pybindings import _C as runtime
except ImportError:  # the library has another name in other releases
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that its interface may change
        from executorch.extension.pybindings import portable_lib as runtime

__all__ = ["Session", "load"]

_TYPES = {
    0: "uint8", 1: "int8", 2: "int16", 3: "int32", 4: "int64", 5: "float16", 6: "float32", 7: "float64", 11: "bool",
}  # fmt: skip


class Session:
    """A loaded model; ``inputs`` lists name, dtype and shape. The file has no names: they count the inputs."""

    def __init__(self, program: Any, method: Any, notes: dict[str, object]) -> None:
        self._program = program  # which owns what the method reads
        self._method = method
        meta = method.method_meta()
        ports = [meta.input_tensor_meta(index) for index in range(meta.num_inputs())]
        self.inputs: list[dict[str, object]] = [
            {"name": f"input_{index}", "dtype": _TYPES[port.dtype()], "shape": list(port.sizes())}
            for index, port in enumerate(ports)
        ]
        self.notes = notes
        self.versions = {name: importlib.metadata.version(name) for name in ("executorch", "torch")}

    def run(self, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Run one batch."""
        return [output.numpy().copy() for output in self._method(self._feed(arrays))]

    def bind(self, arrays: dict[str, np.ndarray]) -> Callable[[], None]:
        """Prepare one batch for timing; a run copies the outputs.

        Returns:
            A function that runs the batch once and returns when the outputs are complete.
        """
        feed, execute = self._feed(arrays), self._method

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
    runtime._unsafe_reset_threadpool(threads)
    torch.set_num_threads(threads)  # operators that XNNPACK left over
    program = runtime._load_program(path, program_verification=runtime.Verification.InternalConsistency)
    return Session(program, program.load_method("forward"), {"threads": threads})
