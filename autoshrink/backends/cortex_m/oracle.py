"""What an int8 ``.tflite`` file answers, by tflite-micro's interpreter on this machine: bit for bit as firmware does.

The interpreter runs in a process of its own, since a broken file can end it.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoshrink.backends.cortex_m.graph import Graph, Tensor
from autoshrink.backends.cortex_m.read_tflite import read_tflite
from autoshrink.core import BackendUnavailable, DeviceError, Refusal
from autoshrink.models.arrays import read_arrays

__all__ = ["Answers", "ask", "dequantize", "quantize", "require_oracle"]

_WORKER = Path(__file__).with_name("oracle_worker.py")
_SHOWN_LINES = 3
_TIMEOUT = 3600.0


@dataclass(frozen=True)
class Answers:
    """What a file gives for examples, in the file's order and shape: int8, and as real numbers."""

    integers: np.ndarray
    """Shape (examples, …), int8."""
    outputs: np.ndarray
    """Shape (examples, …), float32."""
    arena: int
    """Bytes of the interpreter's arena, on this machine; it says nothing about a microcontroller."""


def require_oracle() -> None:
    """Check that tflite-micro is installed.

    Raises:
        BackendUnavailable: it is not.
    """
    if importlib.util.find_spec("tflite_micro") is None:
        raise BackendUnavailable("the package tflite-micro is missing: pip install 'autoshrink[mcu]'")


def quantize(array: np.ndarray, tensor: Tensor) -> np.ndarray:
    """Round real numbers to a tensor's integers, halves away from zero, as TFLite does.

    Args:
        array: shape (examples, *tensor.shape[1:]), or any that has as many elements for each example.
        tensor: an int8 input.
    """
    steps = array.astype(np.float32) / np.float32(tensor.scale)
    rounded: np.ndarray = np.trunc(steps + np.copysign(np.float32(0.5), steps)) + tensor.zero_point
    return rounded.clip(-128, 127).astype(np.int8).reshape(len(array), *tensor.shape[1:])


def dequantize(integers: np.ndarray, tensor: Tensor) -> np.ndarray:
    """Give the real numbers that a tensor's integers stand for, as float32."""
    real: np.ndarray = (integers.astype(np.float32) - np.float32(tensor.zero_point)) * np.float32(tensor.scale)
    return real


def ask(model: bytes, inputs: Sequence[np.ndarray], timeout: float = _TIMEOUT) -> Answers:
    """Run a file on examples.

    Args:
        model: an int8 ``.tflite`` file for one example.
        inputs: one array for each input, shape (examples, …) in the file's order; floats are quantized, int8 is kept.
        timeout: seconds after which the interpreter is ended.

    Raises:
        BackendUnavailable: tflite-micro is not installed.
        SpecError: the file is damaged.
        Refusal: the interpreter can't run the file, or the inputs don't fit it.
        DeviceError: the interpreter died or ran out of time.
    """
    require_oracle()
    graph = read_tflite(model)
    arrays = _integers(graph, inputs)
    with tempfile.TemporaryDirectory(prefix="autoshrink-oracle-") as scratch:
        folder = Path(scratch)
        (folder / "model.tflite").write_bytes(model)
        np.savez(folder / "inputs.npz", *arrays)
        _run(folder, timeout)
        found = read_arrays(folder / "outputs.npz")["output"]
        arena = int((folder / "arena.txt").read_text())
    output = graph.tensors[graph.outputs[0]]
    integers = found.reshape(len(found), *output.shape[1:])
    return Answers(integers, dequantize(integers, output) if output.scales else integers, arena)


def _integers(graph: Graph, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    tensors = [graph.tensors[index] for index in graph.inputs]
    if len(tensors) != len(inputs):
        raise Refusal(f"the .tflite file has {len(tensors)} inputs, and {len(inputs)} are given")
    arrays = []
    for tensor, array in zip(tensors, inputs, strict=True):
        if tensor.shape[0] != 1:
            raise Refusal(f"the input {tensor.name!r} has the shape {tensor.shape}: it must take one example")
        if array.size != len(array) * tensor.size:
            raise Refusal(
                f"the input {tensor.name!r} has the shape {tensor.shape}, and examples have {array.shape[1:]}"
            )
        if tensor.dtype == "int8" and array.dtype != np.int8:
            array = quantize(array, tensor)
        arrays.append(np.ascontiguousarray(array).reshape(len(array), *tensor.shape).astype(tensor.dtype, copy=False))
    return arrays


def _run(folder: Path, timeout: float) -> None:
    command = [sys.executable, str(_WORKER), str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise DeviceError(f"tflite-micro's interpreter did not end within {timeout:g} s") from None
    if done.returncode == 0:
        return
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    last = "; ".join(list(dict.fromkeys(reversed(lines)))[:_SHOWN_LINES][::-1])
    if done.returncode < 0:
        raise DeviceError(f"tflite-micro's interpreter died of signal {-done.returncode}: {last}")
    raise Refusal(f"tflite-micro's interpreter can't run the .tflite file: {last}")
