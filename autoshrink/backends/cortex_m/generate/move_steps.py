"""The calls of operators that only move data."""

from __future__ import annotations

import math

import numpy as np

from autoshrink.backends.cortex_m.generate.steps import Constant, Step, constant_integers, plain_step
from autoshrink.backends.cortex_m.graph import Graph, Op
from autoshrink.core import Refusal, SpecError

__all__ = ["concat_steps", "pad_step", "paddings", "transpose_step"]


def concat_steps(graph: Graph, op: Op, number: int) -> list[Step]:
    """Make one call for each input of a concatenation."""
    made = graph.tensors[op.outputs[0]]
    if not made.shape:
        raise SpecError(f"CONCATENATION {made.name!r} has no axis to join along")
    axis = op.integer("axis") % len(made.shape)
    parts = [graph.tensors[index] for index in op.inputs]
    total = 0
    for part in parts:
        if (part.scale, part.zero_point) != (made.scale, made.zero_point):
            raise Refusal(f"CONCATENATION {made.name!r}: {part.name!r} must have the quantization of the output")
        if len(part.shape) != len(made.shape) or any(
            part.shape[dim] != made.shape[dim] for dim in range(len(made.shape)) if dim != axis
        ):
            raise SpecError(
                f"CONCATENATION {made.name!r}: {part.name!r} of shape {part.shape} does not fit {made.shape}"
            )
        total += part.shape[axis]
    if total != made.shape[axis] or op.options["activation"] != "none":
        raise SpecError(f"CONCATENATION {made.name!r} joins {total} to {made.shape[axis]}, or has an activation")
    inner = math.prod(made.shape[axis + 1 :])
    rows, stride, position, steps = math.prod(made.shape[:axis]), made.shape[axis] * inner, 0, []
    for slot, (index, part) in enumerate(zip(op.inputs, parts, strict=True)):
        run = part.shape[axis] * inner
        constants: tuple[Constant, ...] = ()
        source = "{a}"
        if part.data is not None:
            source = f"part_{number}_{slot}"
            constants = (Constant(source, "int8_t", part.data.reshape(-1).astype(np.int8)),)
        call = f"as_scatter_rows({source}, {{out}} + {position}, {rows}, {run}, {stride});"
        inputs = () if part.data is not None else (index,)
        steps.append(plain_step(graph, op, call, ("as_move.c", "as_memory.c"), constants, inputs=inputs))
        position += run
    return steps


def pad_step(graph: Graph, op: Op, number: int) -> Step:
    """Make the call for a border around an image."""
    given = graph.tensors[op.inputs[0]]
    before, after, value = paddings(graph, op)
    fill = 4 - len(given.shape)
    lists = [[0] * fill + list(side) for side in (before, after)]
    size = [1] * fill + list(given.shape)
    constants = tuple(
        Constant(f"{name}_{number}", "int32_t", np.array(values, np.int32))
        for name, values in zip(("size", "before", "after"), (size, *lists), strict=True)
    )
    call = f"as_pad({{a}}, {{out}}, size_{number}, before_{number}, after_{number}, {value});"
    return plain_step(graph, op, call, ("as_move.c", "as_memory.c"), constants)


def paddings(graph: Graph, op: Op) -> tuple[list[int], list[int], int]:
    """Read a border: elements before and after each dimension, and the value they get."""
    given, made = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    flat = constant_integers(graph, op, 1)
    before, after = flat[::2], flat[1::2]
    shape = tuple(b + size + a for b, size, a in zip(before, given.shape, after, strict=False))
    if len(flat) != 2 * len(given.shape) or min(flat) < 0 or shape != made.shape or len(shape) > 4:
        raise SpecError(f"{op.kind} {made.name!r}: {flat} around {given.shape} does not give {made.shape}")
    if (given.scale, given.zero_point) != (made.scale, made.zero_point):
        raise Refusal(f"{op.kind} must keep the quantization of its input ({made.name})")
    value = constant_integers(graph, op, 2)[0] if len(op.inputs) > 2 and op.inputs[2] >= 0 else made.zero_point
    return before, after, value


def transpose_step(graph: Graph, op: Op, number: int) -> Step:
    """Make the call for a transposition that moves data."""
    given, made = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    order = constant_integers(graph, op, 1)
    rank = len(given.shape)
    if sorted(order) != list(range(rank)) or tuple(given.shape[dim] for dim in order) != made.shape:
        raise SpecError(f"TRANSPOSE {made.name!r}: {given.shape} in the order {order} is not {made.shape}")
    if rank > 4:
        raise Refusal(f"TRANSPOSE {made.name!r} has {rank} dimensions; at most 4 are taken")
    sizes = [1] * (4 - rank) + list(made.shape)
    skips = [0] * (4 - rank) + [math.prod(given.shape[dim + 1 :]) for dim in order]
    constants = (
        Constant(f"size_{number}", "int32_t", np.array(sizes, np.int32)),
        Constant(f"step_{number}", "int32_t", np.array(skips, np.int32)),
    )
    return plain_step(
        graph, op, f"as_permute({{a}}, {{out}}, size_{number}, step_{number});", ("as_move.c", "as_memory.c"), constants
    )
