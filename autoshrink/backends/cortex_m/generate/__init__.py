"""C99 source code for an integer network: no heap, one static arena, every size a constant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from autoshrink.backends.cortex_m.generate.cores import kernels_for
from autoshrink.backends.cortex_m.generate.emit import header, source
from autoshrink.backends.cortex_m.generate.lower import Program, lower, sizes
from autoshrink.backends.cortex_m.graph import Graph
from autoshrink.backends.cortex_m.planner import Buffer, Overlap, Plan, plan

__all__ = ["RUNTIME", "Generated", "generate"]

RUNTIME = Path(__file__).resolve().parent.parent / "runtime"
"""The kernels' sources."""


@dataclass(frozen=True)
class Generated:
    """Source files, and what is known of the network before it is compiled."""

    sources: tuple[Path, ...]
    """C files to compile; ``model.c`` is the first, the rest are kernels, the same for every network."""
    header: Path
    include: Path
    """Folder of every header."""
    arena_bytes: int
    weight_bytes: int
    """Weights in flash with their codebooks and what packing adds; biases and factors are left out."""
    constant_bytes: int
    """Every array in flash: weights, biases, factors, tables."""
    macs: int
    input_scale: float
    input_zero_point: int
    output_scale: float
    output_zero_point: int


def generate(graph: Graph, folder: Path, *, core: str, weights: Literal["auto", "dense"] = "auto") -> Generated:
    """Write the C sources of a network into a folder.

    ``model.h`` declares ``int model_init(void)`` and ``int model_invoke(const int8_t *in, int8_t *out)``, which give 0,
    and macros with sizes, scales and zero points. The sources run on any machine with GCC or Clang, bit for bit alike.

    Args:
        graph: of int8 throughout, as `read_tflite` gives it.
        folder: where the files go; it is made if need be.
        core: ``m0plus``, ``m3``, ``m4f``, ``m7``, ``m33`` or ``m55``.
        weights: ``auto`` stores weights of at most 16 distinct values (all of 4 bits, for example) as 4-bit indices
            into a codebook, and leaves out zeros, each where the product of flash and instructions falls; ``dense``
            stores each weight as one byte. The results are the same.

    Raises:
        Refusal: the network holds what no kernel computes.
        SpecError: the network contradicts itself, or the core is unknown.
    """
    program = lower(graph, kernels_for(core), packed=weights == "auto")
    placed, offsets = _place(program, sizes(program, graph))
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"model.c": source(program, offsets, placed.size, core), "model.h": header(program, placed.size, core)}
    kernels = sorted({name for step in program.steps for name in step.sources})
    for name in (*kernels, *(path.name for path in sorted(RUNTIME.glob("*.h")))):
        texts[name] = (RUNTIME / name).read_text(encoding="utf-8")
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    constants = [constant for step in program.steps for constant in step.constants]
    return Generated(
        sources=(folder / "model.c", *(folder / name for name in kernels)),
        header=folder / "model.h",
        include=folder,
        arena_bytes=placed.size,
        weight_bytes=sum(constant.weight_bytes for constant in constants),
        constant_bytes=sum(constant.nbytes for constant in constants),
        macs=sum(step.macs for step in program.steps),
        input_scale=program.given.scale,
        input_zero_point=program.given.zero_point,
        output_scale=program.made.scale,
        output_zero_point=program.made.zero_point,
    )


def _place(program: Program, sizes: dict[int, int]) -> tuple[Plan, Sequence[dict[str, str]]]:
    """Plan the arena, and say for each step where its operands are, as C expressions."""
    outside = {program.input: "in", program.output: "out"}
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for number, step in enumerate(program.steps):
        first.setdefault(step.output, number)
        for index in (*step.inputs, step.output):
            last[index] = number
    inside = [index for index in first if index not in outside]
    numbers = {index: number for number, index in enumerate(inside)}
    buffers = [Buffer(sizes[index], first[index], last[index]) for index in inside]
    overlaps = [
        Overlap(numbers[given], numbers[step.output], step.leads[slot])
        for step in program.steps
        for slot, given in enumerate(step.inputs)
        if slot in step.leads and given in numbers and step.output in numbers
    ]
    scratch: dict[int, int] = {}
    for number, step in enumerate(program.steps):
        if step.scratch:
            scratch[number] = len(buffers)
            buffers.append(Buffer(step.scratch, number, number))
    placed = plan(buffers, overlaps)

    def where(index: int) -> str:
        return outside[index] if index in outside else f"arena + {placed.offsets[numbers[index]]}"

    operands = []
    for number, step in enumerate(program.steps):
        named = {name: where(index) for name, index in zip("ab", step.inputs, strict=False)}
        named["out"] = where(step.output)
        named["scratch"] = f"(void *)(arena + {placed.offsets[scratch[number]]})" if number in scratch else "NULL"
        operands.append(named)
    return placed, operands
