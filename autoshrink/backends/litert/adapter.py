"""Run a ``model.tflite`` on a device: this file is copied there and needs only numpy and LiteRT."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

__all__ = ["Session", "load"]


class Session:
    """A loaded model; ``inputs`` lists name, dtype and shape, where a free dimension is None.

    Inputs and outputs that are integers with a scale are shown as floats.
    """

    def __init__(self, interpreter: Interpreter, notes: dict[str, object]) -> None:
        self._interpreter = interpreter
        signatures = interpreter._get_full_signature_list()
        signature = next(iter(signatures.values())) if signatures else {"inputs": {}}
        named = {index: name for name, index in signature["inputs"].items()}
        self._ports = [(named.get(port["index"], port["name"]), port) for port in interpreter.get_input_details()]
        self._outputs = interpreter.get_output_details()
        self.inputs: list[dict[str, object]] = [
            {
                "name": name,
                "dtype": "float32" if _scale(port) else np.dtype(port["dtype"]).name,
                "shape": [int(size) if size > 0 else None for size in port["shape_signature"]],
            }
            for name, port in self._ports
        ]
        self.notes = notes
        self.versions = {"ai-edge-litert": importlib.metadata.version("ai-edge-litert")}

    def run(self, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Run one batch, of as many examples as the file has room for."""
        self.bind(arrays)()
        return [_to_float(self._interpreter.get_tensor(port["index"]), port) for port in self._outputs]

    def bind(self, arrays: dict[str, np.ndarray]) -> Callable[[], None]:
        """Prepare one batch for timing: inputs are copied in, the model is run, outputs are copied out.

        Returns:
            A function that does so once.
        """
        feed = [(port["index"], _to_file(arrays[name], port)) for name, port in self._ports]
        outputs = [port["index"] for port in self._outputs]
        give, invoke, take = self._interpreter.set_tensor, self._interpreter.invoke, self._interpreter.get_tensor

        def run_once() -> None:
            for index, array in feed:
                give(index, array)
            invoke()
            for index in outputs:
                take(index)

        return run_once


def _scale(port: dict[str, Any]) -> float:
    return float(port["quantization"][0]) if np.issubdtype(port["dtype"], np.integer) else 0.0


def _to_file(array: np.ndarray, port: dict[str, Any]) -> np.ndarray:
    scale = _scale(port)
    if scale:
        limits = np.iinfo(port["dtype"])
        array = np.clip(np.round(array / scale) + port["quantization"][1], limits.min, limits.max)
    return np.ascontiguousarray(array, dtype=port["dtype"])


def _to_float(array: np.ndarray, port: dict[str, Any]) -> np.ndarray:
    scale = _scale(port)
    return (array.astype(np.float32) - port["quantization"][1]) * np.float32(scale) if scale else array


def load(path: str, options: dict[str, object]) -> Session:
    """Open a model.

    Args:
        path: the ``.tflite`` file.
        options: ``threads`` (default 1), and ``xnnpack`` (default true).

    Raises:
        RuntimeError: XNNPACK was asked for and took no operator.
    """
    threads, xnnpack = int(str(options.get("threads") or 1)), options.get("xnnpack") is not False
    kernels = OpResolverType.AUTO if xnnpack else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(path, num_threads=threads, experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    parts = sum(operator["op_name"] == "DELEGATE" for operator in interpreter._get_ops_details())
    return Session(interpreter, {"threads": threads, "delegates": parts})
