"""Run a ``model.engine`` on a device: this file is copied there and needs numpy, torch with CUDA, and TensorRT."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

__all__ = ["Session", "load"]


class Session:
    """An engine and its context; ``inputs`` lists name, dtype and shape."""

    def __init__(self, trt: Any, path: str, options: dict[str, object]) -> None:
        content = Path(path).read_bytes()
        self._runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
        self._engine = self._runtime.deserialize_cuda_engine(content)
        if self._engine is None:
            raise RuntimeError("TensorRT does not take the engine: it was built for another GPU or version")
        self._context = self._engine.create_execution_context()
        self.graphs = options.get("cuda_graphs") is not False
        self.held = int(self._engine.device_memory_size_v2) + len(content)
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        self._tensors = {
            name: torch.empty(
                tuple(self._engine.get_tensor_shape(name)),
                dtype=getattr(torch, np.dtype(trt.nptype(self._engine.get_tensor_dtype(name))).name),
                device="cuda",
            )
            for name in names
        }
        for name, tensor in self._tensors.items():
            self._context.set_tensor_address(name, tensor.data_ptr())
        taken = [name for name in names if self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        self._given = [name for name in names if name not in taken]
        self.inputs: list[dict[str, object]] = [
            {
                "name": name,
                "dtype": str(self._tensors[name].dtype).removeprefix("torch."),
                "shape": list(self._tensors[name].shape),
            }
            for name in taken
        ]
        self.notes: dict[str, object] = {"gpu": torch.cuda.get_device_name(), "cuda_graphs": self.graphs}
        self.versions = {trt.__name__: trt.__version__, "cuda": str(torch.version.cuda)}

    def run(self, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Run one batch."""
        self.launch(arrays)()
        torch.cuda.synchronize()
        return [self._tensors[name].cpu().numpy() for name in self._given]

    def launch(self, arrays: dict[str, np.ndarray]) -> Callable[[], None]:
        """Prepare one batch: inputs and outputs stay on the GPU.

        Returns:
            A function that starts a run on torch's current stream, without waiting for it.
        """
        for port in self.inputs:
            name = str(port["name"])
            self._tensors[name].copy_(torch.from_numpy(np.ascontiguousarray(arrays[name])))

        def run_once() -> None:
            if not self._context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
                raise RuntimeError("TensorRT could not start the run")

        return run_once


def load(path: str, options: dict[str, object]) -> Session:
    """Open an engine.

    Args:
        path: the ``.engine`` file.
        options: ``product`` (tensorrt, the default, or tensorrt_rtx) and ``cuda_graphs`` (default true).

    Raises:
        RuntimeError: there is no GPU, or the engine is for another.
    """
    if not torch.cuda.is_available():
        raise RuntimeError(f"torch {torch.__version__} finds no NVIDIA GPU")
    return Session(importlib.import_module(str(options.get("product") or "tensorrt")), path, options)
