"""The calls of sums, products, functions of single values, and softmax."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from autoshrink.backends.cortex_m.generate.fixed_point import activation_range, input_radius, quantize_multiplier
from autoshrink.backends.cortex_m.generate.steps import Constant, Step, plain_step, struct
from autoshrink.backends.cortex_m.generate.tables import clamp_of, unary_table
from autoshrink.backends.cortex_m.graph import Graph, Op, Tensor
from autoshrink.core import Refusal, SpecError

__all__ = ["binary_step", "softmax_step", "unary_step"]

_TABLE_PAYS = 512
_FUNCTIONS = {"ADD": "as_add", "SUB": "as_add", "MUL": "as_multiply"}


def unary_step(graph: Graph, op: Op, number: int) -> Step:
    """Make the call for an operator on single values: a table, or a clamp where it is nothing else."""
    given, made = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    table = unary_table(op, given, made)
    if clamp_of(table) is not None:
        low, high = int(table.min()), int(table.max())
        call = f"as_clamp({{a}}, {{out}}, {given.size}, {low}, {high});"
        return plain_step(graph, op, call, ("as_memory.c",), leads={0: 0})
    constants = (Constant(f"table_{number}", "int8_t", table),)
    call = f"as_table(table_{number}, {{a}}, {{out}}, {given.size});"
    return plain_step(graph, op, call, ("as_elementwise.c", "as_memory.c"), constants, leads={0: 0})


def binary_step(graph: Graph, op: Op, number: int) -> Step:
    """Make the call for a sum, difference or product, with one operand repeated where it is smaller."""
    made = graph.tensors[op.outputs[0]]
    indices, signs = list(op.inputs[:2]), [1, -1 if op.kind == "SUB" else 1]
    if graph.tensors[indices[0]].scale > graph.tensors[indices[1]].scale:
        # The kernels are quickest where the second operand has the larger scale.
        indices, signs = indices[::-1], signs[::-1]
    operands = [graph.tensors[index] for index in indices]
    if any(len(tensor.shape) > 4 for tensor in (*operands, made)):
        raise Refusal(f"{op.kind} {made.name!r} has more than four dimensions")
    try:
        broadcast = np.broadcast_shapes(*(tensor.shape for tensor in operands))
    except ValueError:
        broadcast = ()
    if broadcast != made.shape:
        raise SpecError(f"{op.kind} {made.name!r}: {operands[0].shape} and {operands[1].shape} don't give {made.shape}")
    constants = [Constant(f"binary_{number}", "as_binary", _binary_fields(op, operands, made, signs))]
    inputs: list[int] = []
    names: list[str] = []
    for slot, (index, tensor) in enumerate(zip(indices, operands, strict=True)):
        if tensor.data is None:
            names.append("{" + "ab"[len(inputs)] + "}")
            inputs.append(index)
        else:
            names.append(f"operand_{number}_{slot}")
            constants.insert(0, Constant(names[-1], "int8_t", tensor.data.reshape(-1).astype(np.int8)))
    function, (a, b) = _FUNCTIONS[op.kind], names
    leads: dict[int, int | None] = {
        slot: 0 for slot, index in enumerate(inputs) if graph.tensors[index].shape == made.shape
    }
    tabled = op.kind != "MUL" and made.size >= _TABLE_PAYS
    table = "{scratch}" if tabled else "NULL"
    call = f"as_add_table(&binary_{number}, {table}); " if tabled else ""
    if all(tensor.shape == made.shape or tensor.size == 1 for tensor in operands):
        steps = [int(tensor.size > 1) for tensor in operands]
        call += f"{function}(&binary_{number}, {table}, {a}, {steps[0]}, {b}, {steps[1]}, {{out}}, {made.size});"
    else:
        constants.append(Constant(f"loops_{number}", "as_broadcast", _loops(operands, made)))
        call += f"as_broadcasting(&loops_{number}, {function}, &binary_{number}, {table}, {a}, {b}, {{out}});"
    step = plain_step(graph, op, call, ("as_elementwise.c", "as_memory.c"), tuple(constants), leads, tuple(inputs))
    return replace(step, scratch=1024 if tabled else 0)


def softmax_step(graph: Graph, op: Op, number: int) -> Step:
    """Make the call for a softmax over the last dimension."""
    given, made = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    if made.scale != 1 / 256 or made.zero_point != -128 or made.shape != given.shape:
        raise Refusal(f"SOFTMAX {made.name!r} must give the scale 1/256 and the zero point -128")
    bits = 5
    real = min(op.number("beta") * given.scale * 2 ** (31 - bits), 2.0**31 - 1)
    if real <= 1:
        raise Refusal(f"SOFTMAX {made.name!r} has an input scale or beta that is too small: {given.scale:g}")
    multiplier, shift = quantize_multiplier(real)
    depth = given.shape[-1]
    least = -input_radius(bits, shift)
    call = f"as_softmax({{a}}, {{out}}, {given.size // depth}, {depth}, {multiplier}, {shift}, {least});"
    return plain_step(graph, op, call, ("as_softmax.c",), leads={0: 0})


def _binary_fields(op: Op, operands: Sequence[Tensor], made: Tensor, signs: Sequence[int]) -> str:
    low, high = activation_range(op.activation, made.scale, made.zero_point)
    a, b = operands
    if op.kind == "MUL":
        factors = [(0, 0), (0, 0), quantize_multiplier(a.scale * b.scale / made.scale)]
    else:
        twice = 2 * max(a.scale, b.scale)
        factors = [
            quantize_multiplier(real) for real in (a.scale / twice, b.scale / twice, twice / (2**20 * made.scale))
        ]
        if factors[2][1] > 0:
            raise Refusal(f"{op.kind} {made.name!r} has an output scale that is far too small for its inputs")
    return struct(
        multiplier=[multiplier for multiplier, _ in factors],
        shift=[shift for _, shift in factors],
        zero=[a.zero_point, b.zero_point, made.zero_point],
        low=low,
        high=high,
        sign=list(signs),
    )


def _loops(operands: Sequence[Tensor], made: Tensor) -> str:
    shape = (1,) * (4 - len(made.shape)) + made.shape
    skips = []
    for tensor in operands:
        own = (1,) * (4 - len(tensor.shape)) + tensor.shape
        skips.append([0 if own[dim] == 1 else math.prod(own[dim + 1 :]) for dim in range(4)])
    return struct(
        size=list(shape[:3]),
        skip_a=skips[0][:3],
        skip_b=skips[1][:3],
        run=shape[3],
        step_a=skips[0][3],
        step_b=skips[1][3],
    )
