"""What a network becomes: calls of kernels, one after the other, each with its constants and its needs of memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from autoshrink.backends.cortex_m.graph import Graph, Op
from autoshrink.core import Refusal, SpecError

__all__ = ["Constant", "Step", "constant_integers", "plain_step", "struct"]


@dataclass(frozen=True, eq=False)
class Constant:
    """A constant in flash: an array of integers, or a structure as C text."""

    name: str
    ctype: str
    values: np.ndarray | str
    weight_bytes: int = 0
    """Those of its bytes that are weights or a codebook, and not biases or factors."""

    @property
    def nbytes(self) -> int:
        """Bytes of an array."""
        return self.values.nbytes if isinstance(self.values, np.ndarray) else 0


@dataclass(frozen=True, eq=False)
class Step:
    """One call. In it, ``{a}`` and ``{b}`` stand for the inputs, ``{out}`` and ``{scratch}`` for what they say."""

    title: str
    call: str
    inputs: tuple[int, ...]
    """Tensors of the graph; constants are named in the call."""
    output: int
    sources: tuple[str, ...]
    """Files of the runtime that the call needs."""
    constants: tuple[Constant, ...] = ()
    scratch: int = 0
    """Bytes that only this call needs."""
    leads: dict[int, int | None] = field(default_factory=dict)
    """Inputs that the output may lie over, as in `planner.Overlap`."""
    macs: int = 0


def struct(**fields: object) -> str:
    """Write the initializer of a structure."""

    def written(value: object) -> str:
        if isinstance(value, Sequence) and not isinstance(value, str):
            return "{" + ", ".join(written(item) for item in value) + "}"
        return str(value)

    return "{" + ", ".join(f".{name} = {written(value)}" for name, value in fields.items()) + "}"


def constant_integers(graph: Graph, op: Op, slot: int, bound: int | None = None) -> list[int]:
    """Read an operand that must be a constant list of integers, each within ±``bound``."""
    tensor = graph.tensors[op.inputs[slot]] if slot < len(op.inputs) and op.inputs[slot] >= 0 else None
    if tensor is None or tensor.data is None or tensor.size == 0:
        raise Refusal(f"{op.kind} {graph.tensors[op.outputs[0]].name!r} needs constants as operand {slot}")
    values = [int(value) for value in tensor.data.reshape(-1)]
    if bound is not None and any(not -bound <= value < bound for value in values):
        raise SpecError(f"{op.kind} {graph.tensors[op.outputs[0]].name!r}: {values} are not dimensions of {bound}")
    return values


def plain_step(
    graph: Graph,
    op: Op,
    call: str,
    sources: tuple[str, ...],
    constants: tuple[Constant, ...] = (),
    leads: dict[int, int | None] | None = None,
    inputs: tuple[int, ...] | None = None,
) -> Step:
    """Make the step of an operator that is one call; its only activation is by default the first operand."""
    shapes = [graph.tensors[index].shape for index in (op.inputs[0], op.outputs[0])]
    given, made = ("x".join(map(str, shape[1:] or shape)) for shape in shapes)
    title = f"{op.kind.lower().replace('_', ' ')}, {given} -> {made}"
    read = op.inputs[:1] if inputs is None else inputs
    return Step(title, call, read, op.outputs[0], sources, constants, leads=leads or {})
