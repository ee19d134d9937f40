"""Run a ``model.pt2`` on a device: this file is copied there and needs only numpy and torch."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

__all__ = ["Replay", "Session", "load", "measure_memory"]

_WARM_UPS = 3
_DEVICES = {"cpu", "cuda"}


class Session:
    """A loaded package; ``inputs`` lists name, dtype and shape."""

    def __init__(self, loader: Any, facts: dict[str, Any], options: dict[str, object]) -> None:
        self._loader = loader
        self.device = torch.device(facts["AOTI_DEVICE_KEY"])
        self._graphs = options.get("cuda_graphs") is not False
        self.inputs: list[dict[str, object]] = json.loads(facts["inputs"])
        self.notes: dict[str, object] = {"device": self.device.type, "threads": torch.get_num_threads()}
        self.versions = {"torch": importlib.metadata.version("torch")}
        if self.device.type == "cuda":
            self.notes |= {"gpu": torch.cuda.get_device_name(), "cuda_graphs": self._graphs}
            self.versions["cuda"] = str(torch.version.cuda)

    def run(self, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Run one batch."""
        return [output.cpu().numpy().copy() for output in self._loader.run(self.feed(arrays))]

    def bind(self, arrays: dict[str, np.ndarray]) -> Callable[[], None]:
        """Prepare one batch for timing; inputs lie where the model runs, and so do the outputs.

        On a GPU the run is one CUDA graph, unless ``cuda_graphs`` is false, and its ``clock`` times it by CUDA events.

        Returns:
            A function that runs the batch once and returns when the outputs are complete.
        """
        feed, run = self.feed(arrays), self._loader.run

        def run_once() -> None:
            run(feed)

        return Replay(run_once, self._graphs) if self.device.type == "cuda" else run_once

    def feed(self, arrays: dict[str, np.ndarray]) -> list[torch.Tensor]:
        """Put one batch where the model runs."""
        tensors = (torch.from_numpy(np.ascontiguousarray(arrays[str(port["name"])])) for port in self.inputs)
        return [tensor.to(self.device) for tensor in tensors]


class Replay:
    """A run on a GPU, recorded once as a CUDA graph and replayed."""

    def __init__(self, run_once: Callable[[], None], graph: bool) -> None:
        self._launch = run_once
        for _ in range(_WARM_UPS):
            run_once()
        torch.cuda.synchronize()
        if graph:
            recorded = torch.cuda.CUDAGraph()
            with torch.cuda.graph(recorded):
                run_once()
            self._launch = recorded.replay

    def __call__(self) -> None:
        """Run once, to the end."""
        self._launch()
        torch.cuda.synchronize()

    def clock(self, count: int) -> Sequence[float]:
        """Time runs by CUDA events.

        Returns:
            ns of each run, from its first kernel to its last.
        """
        event: Any = torch.cuda.Event
        events = [[event(enable_timing=True) for _ in range(2)] for _ in range(count)]
        for begun, ended in events:
            begun.record()
            self._launch()
            ended.record()
        torch.cuda.synchronize()
        return [begun.elapsed_time(ended) * 1e6 for begun, ended in events]


def load(path: str, options: dict[str, object]) -> Session:
    """Open a package.

    It is opened by the class that ``torch._inductor.aoti_load_package`` and C++ programs use. The function would first
    import the compiler, for 3 s, and have it look for a C++ compiler on the device.

    Args:
        path: the ``.pt2`` file.
        options: ``threads`` (default 1), for all models of this process, and ``cuda_graphs`` (default true).

    Raises:
        RuntimeError: it was built for a GPU, and there is none.
    """
    torch.set_num_threads(int(str(options.get("threads") or 1)))
    torch.backends.cudnn.allow_tf32 = False  # 32-bit floats have all their bits
    opener: Any = torch._C._aoti.AOTIModelPackageLoader
    facts = opener.load_metadata_from_package(path, "model")
    device = facts["AOTI_DEVICE_KEY"]
    if device not in _DEVICES or (device == "cuda" and not torch.cuda.is_available()):
        raise RuntimeError(f"the file was built for the device {device}, and torch {torch.__version__} finds none")
    return Session(opener(path, "model", True, 1, -1), facts, options)


def measure_memory(load_one: Callable[[], Session], example: dict[str, np.ndarray]) -> dict[str, Any] | None:
    """Find the most that a model holds of a GPU's memory, weights included, as torch's allocator counts it.

    What CUDA, its libraries and its kernels' code take for themselves does not count.

    Args:
        load_one: loads the model.
        example: what to run it on.

    Returns:
        Bytes: ``peak``, ``kept`` and ``before``; and the ``method``. None for a model that is not on a GPU.
    """
    cuda: Any = torch.cuda
    if not cuda.is_initialized():
        return None
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    session = load_one()
    for _ in range(_WARM_UPS):
        session.run(example)
    torch.cuda.synchronize()
    peak, kept = torch.cuda.max_memory_allocated(), torch.cuda.memory_allocated()
    return {"peak": peak - before, "kept": kept - before, "before": before, "method": "device memory"}
