"""Measures an artifact without a device: emulated where a Cortex-M runs it, by Vela where an NPU does."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from autoshrink.backends.cortex_m.artifact import input_ports, output_port
from autoshrink.backends.cortex_m.boards import Board, Npu, read_board, read_npu
from autoshrink.backends.cortex_m.cycles import measurement
from autoshrink.backends.cortex_m.edges import without_float_edges
from autoshrink.backends.cortex_m.emulate import run
from autoshrink.backends.cortex_m.generate import generate
from autoshrink.backends.cortex_m.graph import Graph
from autoshrink.backends.cortex_m.oracle import ask, quantize
from autoshrink.backends.cortex_m.read_tflite import read_tflite
from autoshrink.backends.cortex_m.toolchain import build
from autoshrink.backends.cortex_m.vela import compile_for_npu, npu_measurement
from autoshrink.backends.cortex_m.write_tflite import without_int4, write_tflite
from autoshrink.core import Artifact, Hardware, Measurement
from autoshrink.models.arrays import read_arrays

__all__ = ["measure_artifact"]

_COMPARED = 8
"""Examples that firmware and oracle are compared on."""


def measure_artifact(
    folder: Path, artifact: Artifact, hardware: Hardware, predict: Mapping[str, Path]
) -> tuple[Measurement, dict[str, np.ndarray]]:
    """Measure an artifact, and run it on every example by the oracle.

    Args:
        folder: holds the artifact's file.
        artifact: what to measure.
        hardware: the profile of a board or of an NPU.
        predict: inputs by name of the split, as .npz files.

    Returns:
        The figures, and the outputs for each split: shape (examples, …), float32.

    Raises:
        Refusal: no kernel computes the network, or it is too large for what is emulated.
        BackendUnavailable: the toolchain, the emulator, Vela or the interpreter is not installed.
        DeviceError: one of them did not end.
        RuntimeError: the firmware differs from the oracle, which is a bug.
    """
    content = (folder / artifact.files[0]).read_bytes()
    read = read_tflite(content, artifact.files[0])
    graph = without_float_edges(read)
    if graph is not read:
        content = write_tflite(graph)
    splits = {name: _inputs(path, artifact) for name, path in predict.items()}
    inputs = _joined(graph, list(splits.values()))
    answers = ask(content, inputs)
    npu = read_npu(hardware)
    if npu is not None:
        measured = _estimated(graph, npu)
    else:
        few = (inputs[0][:_COMPARED], answers.integers[:_COMPARED])
        measured = _emulated(graph, read_board(hardware), *(array.reshape(len(array), -1) for array in few))
    port = output_port(artifact)
    outputs = port.to_torch(answers.outputs) if port is not None else answers.outputs
    ends = np.cumsum([len(arrays[0]) for arrays in splits.values()])
    return measured, dict(zip(splits, np.split(outputs, ends[:-1]), strict=True) if splits else ())


def _inputs(path: Path, artifact: Artifact) -> list[np.ndarray]:
    arrays = list(read_arrays(path).values())
    ports = input_ports(artifact)
    return arrays if ports is None else [port.to_file(array) for port, array in zip(ports, arrays, strict=True)]


def _joined(graph: Graph, splits: Sequence[list[np.ndarray]]) -> list[np.ndarray]:
    """Join the examples of all splits, as integers; without any, invent some."""
    tensors = [graph.tensors[index] for index in graph.inputs]
    if not splits:
        generator = np.random.default_rng(0)
        return [generator.integers(-128, 128, (_COMPARED, *t.shape[1:])).astype(np.int8) for t in tensors]
    joined = [np.concatenate(arrays) for arrays in zip(*splits, strict=True)]
    return [
        quantize(array, tensor) if tensor.dtype == "int8" and array.dtype != np.int8 else array
        for array, tensor in zip(joined, tensors, strict=True)
    ]


def _estimated(graph: Graph, npu: Npu) -> Measurement:
    with tempfile.TemporaryDirectory(prefix="autoshrink-npu-") as scratch:
        model = Path(scratch) / "model.tflite"
        model.write_bytes(write_tflite(without_int4(graph)))
        return npu_measurement(compile_for_npu(model, npu, Path(scratch)), npu)


def _emulated(graph: Graph, board: Board, inputs: np.ndarray, wanted: np.ndarray) -> Measurement:
    with tempfile.TemporaryDirectory(prefix="autoshrink-firmware-") as scratch:
        generated = generate(graph, Path(scratch), core=board.core)
        firmware = build(generated.sources, board, Path(scratch), (generated.include,))
        emulated = run(firmware, inputs)
        found = measurement(firmware, emulated)
    differing = int((emulated.outputs != wanted).sum())
    if differing:
        raise RuntimeError(
            f"the firmware differs from tflite-micro in {differing} of {wanted.size} integers: a bug of autoshrink"
        )
    conditions = {
        **found.conditions,
        "macs": generated.macs,
        "weight_bytes": generated.weight_bytes,
        "arena_bytes": generated.arena_bytes,
        "compared": f"bit for bit equal to tflite-micro on {len(inputs)} inputs",
    }
    if firmware.overflow:
        conditions["overflow"] = {region: f"{excess} bytes too many" for region, excess in firmware.overflow.items()}
    return Measurement(metrics=found.metrics, conditions=conditions)
