"""Run a ``model.onnx`` on a device: this file is copied there and needs only numpy and onnxruntime."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import Fail

__all__ = ["Session", "load"]

_LEVELS = {
    "disable": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_FATAL_ONLY = 4
_TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(bool)": "bool",
    **{f"tensor({kind}{bits})": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
}


class Session:
    """A loaded model; ``inputs`` lists name, dtype and shape, where a free dimension is None."""

    def __init__(self, session: onnxruntime.InferenceSession, notes: dict[str, object]) -> None:
        self._session = session
        self._outputs = [output.name for output in session.get_outputs()]
        self.inputs: list[dict[str, object]] = [
            {
                "name": item.name,
                "dtype": _TYPES.get(item.type, item.type),
                "shape": [size if isinstance(size, int) else None for size in item.shape],
            }
            for item in session.get_inputs()
        ]
        self.notes = notes
        self.versions = {"onnxruntime": onnxruntime.__version__}

    def run(self, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Run one batch."""
        return list(self._session.run(self._outputs, arrays))

    def bind(self, arrays: dict[str, np.ndarray]) -> Callable[[], None]:
        """Prepare one batch for timing.

        A plain run, as a user's own Python does it, so that the figure can be checked in three lines. An I/O binding
        saves about 3 µs a call, and costs 20 to 35 µs more where it is given run options (onnxruntime 1.31).

        Returns:
            A function that runs the batch once and returns when the outputs are complete.
        """
        feed = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        run, outputs = self._session.run, self._outputs

        def run_once() -> None:
            run(outputs, feed)

        return run_once


def load(path: str, options: dict[str, object]) -> Session:
    """Open a model.

    Args:
        path: the ``.onnx`` file.
        options: ``threads`` (of one operator, default 1), ``providers`` (default the CPU's) and
            ``graph_optimization`` (disable, basic, extended or all, the default).

    Raises:
        RuntimeError: a provider is missing, or the runtime fell back from it, for the whole model or for operators.
    """
    raw = options.get("providers") or ["CPUExecutionProvider"]
    wished = [str(name) for name in raw] if isinstance(raw, list | tuple) else [str(raw)]
    missing = sorted(set(wished) - set(onnxruntime.get_available_providers()))
    if missing:
        raise RuntimeError(
            f"this onnxruntime has no {', '.join(missing)}, only {', '.join(onnxruntime.get_available_providers())}"
        )
    threads = int(str(options.get("threads") or 1))
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.graph_optimization_level = _LEVELS[str(options.get("graph_optimization") or "all")]
    settings.log_severity_level = _FATAL_ONLY
    if threads > 1:
        # Threads that spin after a run would steal the cores from the next session in this process.
        settings.add_session_config_entry("session.force_spinning_stop", "1")
    if "CPUExecutionProvider" not in wished:
        # Else single operators that the provider has not would run on the processor without a word.
        settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        session = onnxruntime.InferenceSession(path, settings, providers=wished)
    except Fail as error:
        if "fallback to CPU EP" not in str(error):
            raise
        raise RuntimeError(
            f"the runtime fell back from {', '.join(wished)} to the CPU for some operators; name CPUExecutionProvider "
            "among the providers too if it may"
        ) from error
    lost = [name for name in wished if name not in session.get_providers()]
    if lost:
        raise RuntimeError(f"the runtime fell back from {', '.join(lost)} to {', '.join(session.get_providers())}")
    return Session(session, {"providers": session.get_providers(), "threads": threads})
