"""Run a ``model.pt2`` on a device: this file is copied there and needs only numpy and torch."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

__all__ = ["Session", "load"]

_DEVICES = {"cpu", "cuda"}


class Session:
    """A loaded package; ``inputs`` lists name, dtype and shape."""

    held = 0
    """Bytes of a GPU's memory that are not torch's: none, as weights are put into its allocator's."""

    def __init__(self, loader: Any, facts: dict[str, Any], options: dict[str, object]) -> None:
        self._loader = loader
        self.device = torch.device(facts["AOTI_DEVICE_KEY"])
        self.graphs = options.get("cuda_graphs") is not False
        self.inputs: list[dict[str, object]] = json.loads(facts["inputs"])
        self.notes: dict[str, object] = {"device": self.device.type, "threads": torch.get_num_threads()}
        self.versions = {"torch": importlib.metadata.version("torch")}
        if self.device.type == "cuda":
            self.launch = self.bind
            self.notes |= {"gpu": torch.cuda.get_device_name(), "cuda_graphs": self.graphs}
            self.versions["cuda"] = str(torch.version.cuda)

    def run(self, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Run one batch."""
        return [output.cpu().numpy().copy() for output in self._loader.run(self._feed(arrays))]

    def bind(self, arrays: dict[str, np.ndarray]) -> Callable[[], None]:
        """Prepare one batch for timing.

        Returns:
            A function that runs the batch once and returns when the outputs are complete, on a GPU perhaps before.
        """
        feed, run = self._feed(arrays), self._loader.run

        def run_once() -> None:
            run(feed)

        return run_once

    def _feed(self, arrays: dict[str, np.ndarray]) -> list[torch.Tensor]:
        tensors = (torch.from_numpy(np.ascontiguousarray(arrays[str(port["name"])])) for port in self.inputs)
        return [tensor.to(self.device) for tensor in tensors]


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
