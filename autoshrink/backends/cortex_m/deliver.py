"""What the user takes home: the ``.tflite``, its C sources, and a board to try them on; for an NPU, Vela's file."""

from __future__ import annotations

import shutil
import tempfile
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autoshrink.backends.cortex_m.artifact import input_ports
from autoshrink.backends.cortex_m.boards import Board, Npu, read_board, read_npu
from autoshrink.backends.cortex_m.edges import without_float_edges
from autoshrink.backends.cortex_m.figures import figures, one_line
from autoshrink.backends.cortex_m.generate import Generated, generate
from autoshrink.backends.cortex_m.graph import Graph
from autoshrink.backends.cortex_m.oracle import quantize
from autoshrink.backends.cortex_m.read_tflite import read_tflite
from autoshrink.backends.cortex_m.toolchain import (
    BOARD_FILES,
    COMPILE_FLAGS,
    FREESTANDING,
    INSTALL,
    LINK_FLAGS,
    linker_script,
)
from autoshrink.backends.cortex_m.vela import compile_for_npu
from autoshrink.backends.cortex_m.write_tflite import without_int4, write_tflite
from autoshrink.core import Artifact, Candidate, Hardware

if TYPE_CHECKING:
    from autoshrink.models.splits import Split

__all__ = ["deliver_artifact"]

_BOARD = ("startup.c", "main.c", "buffers.c")
"""In the order in which they are linked, as `toolchain.build` has it: sizes are the measured ones to the byte."""
_WIDTH = 120


def deliver_artifact(
    folder: Path,
    artifact: Artifact,
    hardware: Hardware,
    candidate: Candidate,
    to: Path,
    example: Callable[[], Split | None] = lambda: None,
) -> list[str]:
    """Write an artifact's deployable files; nothing is compiled for a core, so no toolchain is needed.

    For a core: the ``.tflite``, ``model/`` with the C sources and the figures on top of ``model.h``, ``board/`` with
    what runs them on the emulated board on one example, and a ``Makefile``. For an NPU: the file that Vela makes.

    Args:
        folder: holds the artifact's file.
        artifact: what to deliver.
        hardware: the profile of a board or of an NPU.
        candidate: whose figures are written down.
        to: where the files go.
        example: gives one example of the user's data, or None where they can't be loaded.

    Returns:
        The files that were written, as paths inside ``to``.

    Raises:
        Refusal: no kernel computes the network, or Vela rejects it.
        BackendUnavailable: Vela is not installed, for an NPU.
        DeviceError: Vela did not end.
    """
    model = folder / artifact.files[0]
    graph = without_float_edges(read_tflite(model))
    about = figures(candidate, hardware)
    npu = read_npu(hardware)
    if npu is not None:
        return _deliver_for_npu(graph, npu, about, to)
    board = read_board(hardware)
    (to / "board").mkdir(parents=True, exist_ok=True)
    shutil.copy(model, to / model.name)
    generated = generate(graph, to / "model", core=board.core)
    header = generated.header.read_text(encoding="utf-8")
    generated.header.write_text(f"{_comment(about)}\n{header}", encoding="utf-8")
    for name in _BOARD:
        shutil.copy(BOARD_FILES / name, to / "board" / name)
    texts = {
        "board/firmware.ld": linker_script(board, outside="*main.c.o"),
        "board/example.h": _example(graph, artifact, example()),
        "Makefile": _makefile(board, generated),
    }
    for name, text in texts.items():
        (to / name).write_text(text, encoding="utf-8")
    sources = [*generated.sources, *sorted(generated.include.glob("*.h"))]
    return [model.name, *(f"model/{path.name}" for path in sources), *(f"board/{name}" for name in _BOARD), *texts]


def _deliver_for_npu(graph: Graph, npu: Npu, about: Sequence[str], to: Path) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="autoshrink-npu-") as scratch:
        model = Path(scratch) / "model.tflite"
        model.write_bytes(write_tflite(without_int4(graph)))
        made = compile_for_npu(model, npu, Path(scratch))
        shutil.copy(made.model, to / "model_vela.tflite")
    note = (
        f"model_vela.tflite is compiled for {npu.accelerator} by Vela {made.version} ({npu.system_config}, "
        f"{npu.memory_mode}). All of its {made.operators} operators run on the NPU: load it with TensorFlow Lite for "
        "Microcontrollers and the Ethos-U driver. There are no C sources and no emulated board for an NPU, and the "
        "figures are Vela's model of it."
    )
    lines = [*textwrap.wrap(note, _WIDTH), "", *about]
    (to / "README.txt").write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    return ["model_vela.tflite", "README.txt"]


def _comment(lines: Sequence[str]) -> str:
    wrapped = [part for line in lines for part in textwrap.wrap(line, _WIDTH - 3, subsequent_indent="    ") or [""]]
    return "\n".join(["/*", *(f" * {line}".rstrip() for line in wrapped), " */"])


def _example(graph: Graph, artifact: Artifact, example: Split | None) -> str:
    """Write ``example.h``: one input as the model's integers, in the file's order."""
    given, made = graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]]
    if example is None:
        integers = np.arange(given.size).astype(np.int8)  # wraps around: every integer occurs
        origin = "The data could not be loaded when this was written: a pattern, and no real example."
    else:
        ports = input_ports(artifact)
        array = example.arrays()[0][:1]
        integers = quantize(array if ports is None else ports[0].to_file(array), given)
        origin = "The first example of the validation split, as the model's integers."
        if example.labels is not None and example.labels.dim() == 1:
            origin += f" Its label there: {example.labels[0].item():g}."
    numbers = textwrap.fill(
        ", ".join(map(str, integers.reshape(-1).tolist())), _WIDTH, initial_indent="    ", subsequent_indent="    "
    )
    has_classes = made.size == made.shape[-1] > 1
    return (
        f"/* {origin} */\n"
        f"static const int8_t example[] = {{\n{numbers},\n}};\n\n"
        f"/* Whether the outputs are one row, whose largest is the class. */\n"
        f"#define EXAMPLE_HAS_CLASSES {has_classes:d}\n"
    )


def _makefile(board: Board, generated: Generated) -> str:
    core = board.emulated
    about = f"""\
        The model as firmware for {one_line(board.name)}.

            make         builds build/firmware.elf; it does not link if it is too large for the board's flash or RAM
            make run     runs it on an emulated board ({core.machine}) on the example of board/example.h
            make size    prints what it takes of flash and RAM
            make clean   removes build/

        Needs, on Debian: {INSTALL} make
        Another compiler: make CC=/path/to/arm-none-eabi-gcc

        model/ is for your own firmware: compile its sources with CPU, CFLAGS and MODEL_OPTIMIZE, and call what model.h
        declares. board/ is for the emulated board: its linker script has the real sizes at the emulator's addresses.
    """
    settings = {
        "MODEL": [f"model/{path.name}" for path in generated.sources],
        "BOARD": [f"board/{name}" for name in _BOARD],
        "CPU": core.flags,
        "MACHINE": [core.machine],
        "CFLAGS": COMPILE_FLAGS,
        "MODEL_OPTIMIZE": core.optimization,
        "BOARD_OPTIMIZE": FREESTANDING,
        "LDFLAGS": LINK_FLAGS,
    }
    lines = [f"# {line}".rstrip() for line in textwrap.dedent(about).strip().splitlines()]
    lines += ["", *(_setting(name, values) for name, values in settings.items())]
    return "\n".join(lines) + "\n" + (BOARD_FILES / "rules.mk").read_text(encoding="utf-8")


def _setting(name: str, values: Sequence[str]) -> str:
    text = f"{name} = {' '.join(values)}"
    return " \\\n".join(textwrap.wrap(text, _WIDTH - 2, subsequent_indent="    ", break_on_hyphens=False))
