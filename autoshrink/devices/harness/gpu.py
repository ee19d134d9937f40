"""A model on an NVIDIA GPU: replayed as a CUDA graph, timed by CUDA events, its memory counted by torch's allocator.

For adapters whose model launches its work on torch's current CUDA stream: ``launch(arrays) -> callable`` does so
without waiting, ``graphs`` says whether it can be recorded, ``held`` counts bytes that it has from elsewhere. Torch is
imported only when there is such a model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["Replay", "measure_memory"]

_WARM_UPS = 3


class Replay:
    """A run on a GPU: recorded once, replayed each time, unless the model can't be recorded."""

    def __init__(self, launch: Callable[[], object], graph: bool) -> None:
        import torch

        self._cuda: Any = torch.cuda
        self._launch: Callable[[], object] = launch
        for _ in range(_WARM_UPS):
            launch()
        self._cuda.synchronize()
        if graph:
            recorded = torch.cuda.CUDAGraph()
            with torch.cuda.graph(recorded):
                launch()
            self._launch = recorded.replay

    def __call__(self) -> None:
        """Run once, to the end."""
        self._launch()
        self._cuda.synchronize()

    def clock(self, count: int) -> Sequence[float]:
        """Time runs by CUDA events.

        Returns:
            ns of each run, from its first kernel to its last.
        """
        events = [[self._cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(count)]
        for begun, ended in events:
            begun.record()
            self._launch()
            ended.record()
        self._cuda.synchronize()
        return [begun.elapsed_time(ended) * 1e6 for begun, ended in events]


def measure_memory(load: Callable[[], Any], example: dict[str, Any]) -> dict[str, Any]:
    """Find the most that a model holds of a GPU's memory, weights included.

    What CUDA, its libraries and its kernels' code take for themselves does not count.

    Args:
        load: loads the model, which was loaded, run and released before.
        example: what to run it on.

    Returns:
        Bytes: ``peak``, ``kept`` after the runs and ``before``; and the ``method``.
    """
    import torch

    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    model = load()
    for _ in range(_WARM_UPS):
        model.run(example)
    torch.cuda.synchronize()
    held = int(model.held)
    peak, kept = torch.cuda.max_memory_allocated() - before + held, torch.cuda.memory_allocated() - before + held
    return {"peak": peak, "kept": kept, "before": before, "method": "device memory"}
