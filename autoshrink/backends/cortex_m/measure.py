"""Measures an artifact without a device: emulated where a Cortex-M runs it, by Vela where an NPU does."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from autoshrink.backends.cortex_m.artifact import input_ports, output_port
from autoshrink.backends.cortex_m.boards import Board, Npu, read_board, read_npu
from autoshrink.backends.cortex_m.cycles import measurement
from autoshrink.backends.cortex_m.emulate import run
from autoshrink.backends.cortex_m.generate import generate
from autoshrink.backends.cortex_m.graph import Graph
from autoshrink.backends.cortex_m.oracle import ask, quantize
from autoshrink.backends.cortex_m.read_tflite import read_tflite
from autoshrink.backends.cortex_m.toolchain import build
from autoshrink.backends.cortex_m.vela import compile_for_npu, npu_measurement
from autoshrink.backends.cortex_m.write_tflite import without_int4, write_tflite
from autoshrink.core import Artifact, Hardware, Measurement

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
    graph = read_tflite(content, artifact.files[0])
    splits = {name: _inputs(path, artifact) for name, path in predict.items()}
    probe = _probe(graph, next(iter(splits.values()), None))
    npu = read_npu(hardware)
    measured = _estimated(graph, npu) if npu is not None else _emulated(content, graph, read_board(hardware), probe)
    port = output_port(artifact)
    outputs = {}
    for name, arrays in splits.items():
        answers = ask(content, arrays).outputs
        outputs[name] = port.to_torch(answers) if port is not None else answers
    return measured, outputs


def _inputs(path: Path, artifact: Artifact) -> list[np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        arrays = [file[name] for name in file.files]
    ports = input_ports(artifact)
    return arrays if ports is None else [port.to_file(array) for port, array in zip(ports, arrays, strict=True)]


def _probe(graph: Graph, arrays: Sequence[np.ndarray] | None) -> np.ndarray:
    """Give int8 inputs for the emulated run: the first examples, or invented numbers."""
    tensor = graph.tensors[graph.inputs[0]]
    if arrays is None:
        numbers = np.random.default_rng(0).integers(-128, 128, (_COMPARED, *tensor.shape[1:]))
        return numbers.astype(np.int8)
    first = arrays[0][:_COMPARED]
    return first if first.dtype == np.int8 or tensor.dtype != "int8" else quantize(first, tensor)


def _estimated(graph: Graph, npu: Npu) -> Measurement:
    with tempfile.TemporaryDirectory(prefix="autoshrink-npu-") as scratch:
        model = Path(scratch) / "model.tflite"
        model.write_bytes(write_tflite(without_int4(graph)))
        return npu_measurement(compile_for_npu(model, npu, Path(scratch)), npu)


def _emulated(content: bytes, graph: Graph, board: Board, probe: np.ndarray) -> Measurement:
    with tempfile.TemporaryDirectory(prefix="autoshrink-firmware-") as scratch:
        generated = generate(graph, Path(scratch), core=board.core)
        firmware = build(generated.sources, board, Path(scratch), (generated.include,))
        emulated = run(firmware, probe.reshape(len(probe), -1))
        found = measurement(firmware, emulated)
    wanted = ask(content, [probe]).integers.reshape(len(probe), -1)
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
        "compared": f"bit for bit equal to tflite-micro on {len(probe)} inputs",
        **({"overflow": dict(firmware.overflow)} if firmware.overflow else {}),
    }
    return Measurement(metrics=found.metrics, conditions=conditions)
