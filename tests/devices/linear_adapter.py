"""A backend's adapter over NumPy: a linear model in ``weights.npz``, and an option that makes it fail in many ways."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np


class Linear:
    def __init__(self, weights: np.ndarray, options: dict[str, object]) -> None:
        self.weights, self.trouble = weights, options.get("trouble")
        self.inputs = [{"name": "x", "dtype": "float32", "shape": [None, len(weights)]}]
        self.versions = {"linear": "1.0"}
        self.notes = {"environment": dict(os.environ), "arguments": sys.argv}

    def run(self, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
        if self.trouble == "run":
            raise RuntimeError("this operator\nis not implemented")
        if self.trouble == "batch" and len(arrays["x"]) > 1:
            raise ValueError("only one example at a time")
        return [arrays["x"] @ self.weights]


def load(path: str, options: dict[str, object]) -> Linear:
    trouble = options.get("trouble")
    if trouble == "load" or (trouble == "load the reference" and "reference" in Path(path).parts):
        raise ValueError("not a model")
    if trouble == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if trouble == "hang":
        child = subprocess.Popen(["sleep", "60"])
        Path(str(options["children"])).write_text(f"{os.getpid()} {child.pid}")
        time.sleep(60)
    with np.load(path, allow_pickle=False) as file:
        return Linear(file["w"], options)
