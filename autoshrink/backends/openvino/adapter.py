"""Run a ``model.xml`` on a device: this file is copied there and needs only numpy and OpenVINO."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import openvino

__all__ = ["Session", "load"]


class Session:
    """A compiled model; ``inputs`` lists name, dtype and shape, where a free dimension is None."""

    def __init__(self, compiled: openvino.CompiledModel, notes: dict[str, object]) -> None:
        self._request = compiled.create_infer_request()
        self._outputs = len(compiled.outputs)
        self.inputs: list[dict[str, object]] = [
            {
                "name": port.get_any_name(),
                "dtype": np.dtype(port.get_element_type().to_dtype()).name,
                "shape": [None if size.is_dynamic else size.get_length() for size in port.get_partial_shape()],
            }
            for port in compiled.inputs
        ]
        self.notes = notes
        self.versions = {"openvino": openvino.__version__.partition("-")[0]}

    def run(self, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Run one batch."""
        self.bind(arrays)()
        return [self._request.get_output_tensor(index).data.copy() for index in range(self._outputs)]

    def bind(self, arrays: dict[str, np.ndarray]) -> Callable[[], None]:
        """Prepare one batch for timing: its arrays are shared with the runtime, outputs are read in place.

        To hand them over at each run would take 30 µs more (OpenVINO 2026.4).

        Returns:
            A function that runs the batch once and returns when the outputs are complete.
        """
        feed = [
            openvino.Tensor(np.ascontiguousarray(arrays[str(port["name"])]), shared_memory=True) for port in self.inputs
        ]
        request = self._request

        def run_once() -> None:
            request.infer(feed, share_inputs=True, share_outputs=True)

        return run_once


def load(path: str, options: dict[str, object]) -> Session:
    """Open and compile a model.

    Args:
        path: the ``.xml`` file, with its ``.bin`` beside it.
        options: ``threads`` (default 1), ``device`` (default CPU) and ``precision`` of float arithmetic (f32, bf16 or
            f16; default f32).
    """
    device, precision = str(options.get("device") or "CPU"), str(options.get("precision") or "f32")
    threads = int(str(options.get("threads") or 1))
    settings: dict[str, object] = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    if device == "CPU":
        # The harness has pinned the process already.
        settings |= {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False}
    compiled = openvino.Core().compile_model(path, device, settings)
    return Session(compiled, {"device": device, "threads": threads, "precision": precision})
