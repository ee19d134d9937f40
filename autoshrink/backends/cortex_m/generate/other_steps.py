"""The calls of every operator that is not a weighted sum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from autoshrink.backends.cortex_m.generate.fixed_point import activation_range, input_radius, quantize_multiplier
from autoshrink.backends.cortex_m.generate.linear import window
from autoshrink.backends.cortex_m.generate.steps import Constant, Step, struct
from autoshrink.backends.cortex_m.generate.tables import clamp_of, unary_table
from autoshrink.backends.cortex_m.graph import Activation, Graph, Op, Tensor
from autoshrink.core import Refusal, SpecError

__all__ = [
    "binary_step",
    "concat_steps",
    "mean_step",
    "pad_step",
    "pool_step",
    "softmax_step",
    "transpose_step",
    "unary_step",
]

_TABLE_PAYS = 512
_FUNCTIONS = {"ADD": "as_add", "SUB": "as_add", "MUL": "as_multiply"}


def unary_step(graph: Graph, op: Op, number: int) -> Step:
    """Make the call for an operator on single values: a table, or a clamp where it is nothing else."""
    given, made = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    table = unary_table(op, given, made)
    if clamp_of(table) is not None:
        low, high = int(table.min()), int(table.max())
        call = f"as_clamp({{a}}, {{out}}, {given.size}, {low}, {high});"
        return _step(op, graph, call, ("as_memory.c",), leads={0: 0})
    constants = (Constant(f"table_{number}", "int8_t", table),)
    call = f"as_table(table_{number}, {{a}}, {{out}}, {given.size});"
    return _step(op, graph, call, ("as_elementwise.c", "as_memory.c"), constants, leads={0: 0})


def binary_step(graph: Graph, op: Op, number: int) -> Step:
    """Make the call for a sum, difference or product, with one operand repeated where it is smaller."""
    made = graph.tensors[op.outputs[0]]
    indices, signs = list(op.inputs[:2]), [1, -1 if op.kind == "SUB" else 1]
    if graph.tensors[indices[0]].scale > graph.tensors[indices[1]].scale:
        # The kernels are quickest where the second operand has the larger scale.
        indices.reverse()
        signs.reverse()
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
    step = _step(op, graph, call, ("as_elementwise.c", "as_memory.c"), tuple(constants), leads, tuple(inputs))
    return replace(step, scratch=1024 if tabled else 0)


def _binary_fields(op: Op, operands: Sequence[Tensor], made: Tensor, signs: Sequence[int]) -> str:
    activation: Activation = op.options["activation"]  # type: ignore[assignment]
    low, high = activation_range(activation, made.scale, made.zero_point)
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


def pool_step(graph: Graph, op: Op, number: int) -> Step:
    """Make the call for an average or maximum over windows."""
    given, made = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    if (given.scale, given.zero_point) != (made.scale, made.zero_point):
        raise Refusal(f"{op.kind} must keep the quantization of its input ({made.name})")
    sliding = window(op, given, made, (int(op.number("filter_h")), int(op.number("filter_w"))))
    if given.shape[3] != made.shape[3]:
        raise SpecError(f"{op.kind} {made.name!r} changes the number of channels")
    activation: Activation = op.options["activation"]  # type: ignore[assignment]
    low, high = activation_range(activation, made.scale, made.zero_point)
    fields = struct(
        in_c=given.shape[3], out_c=given.shape[3], in_h=given.shape[1], in_w=given.shape[2], out_h=made.shape[1],
        out_w=made.shape[2], kernel_h=sliding.kernel[0], kernel_w=sliding.kernel[1], stride_h=sliding.stride[0],
        stride_w=sliding.stride[1], dilation_h=1, dilation_w=1, pad_top=sliding.before[0], pad_left=sliding.before[1],
        low=low, high=high,
    )  # fmt: skip
    function = "as_average_pool" if op.kind == "AVERAGE_POOL_2D" else "as_max_pool"
    constants = (Constant(f"window_{number}", "as_window", fields),)
    return _step(op, graph, f"{function}(&window_{number}, {{a}}, {{out}});", ("as_pool.c",), constants)


def mean_step(graph: Graph, op: Op, number: int) -> Step:
    """Make the call for a mean over neighboring dimensions."""
    given, made = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    rank = len(given.shape)
    axes = sorted({axis % rank for axis in constant_integers(graph, op, 1, bound=rank)})
    axes = [axis for axis in axes if given.shape[axis] > 1] or axes[:1]
    if not axes or made.size * math.prod(given.shape[axis] for axis in axes) != given.size:
        raise SpecError(f"MEAN {made.name!r} over {axes} of {given.shape} does not give {made.shape}")
    between = [axis for axis in range(axes[0], axes[-1]) if axis not in axes and given.shape[axis] > 1]
    if between:
        raise Refusal(
            f"MEAN {made.name!r} over the dimensions {axes} of {given.shape}; only neighboring ones are taken"
        )
    count = math.prod(given.shape[axis] for axis in axes)
    multiplier, shift = quantize_multiplier(given.scale / made.scale)
    # The division by the count goes into the factor, as TFLite does it.
    headroom = min(count.bit_length() - 1, 32, 31 + shift)
    fields = struct(
        outer=math.prod(given.shape[: axes[0]]), middle=count, inner=math.prod(given.shape[axes[-1] + 1 :]),
        multiplier=(multiplier << headroom) // count, shift=shift - headroom, zero_in=given.zero_point,
        zero_out=made.zero_point,
    )  # fmt: skip
    constants = (Constant(f"reduction_{number}", "as_reduction", fields),)
    return _step(op, graph, f"as_mean(&reduction_{number}, {{a}}, {{out}});", ("as_pool.c",), constants)


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
    return _step(op, graph, call, ("as_softmax.c",), leads={0: 0})


def concat_steps(graph: Graph, op: Op, number: int) -> list[Step]:
    """Make one call for each input of a concatenation."""
    made = graph.tensors[op.outputs[0]]
    axis = int(op.number("axis")) % len(made.shape)
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
        steps.append(_step(op, graph, call, ("as_move.c", "as_memory.c"), constants, inputs=inputs))
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
    return _step(op, graph, call, ("as_move.c", "as_memory.c"), constants)


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
    return _step(
        op, graph, f"as_permute({{a}}, {{out}}, size_{number}, step_{number});", ("as_move.c", "as_memory.c"), constants
    )


def constant_integers(graph: Graph, op: Op, slot: int, bound: int | None = None) -> list[int]:
    """Read an operand that must be a constant list of integers, each within ±``bound``."""
    tensor = graph.tensors[op.inputs[slot]] if slot < len(op.inputs) and op.inputs[slot] >= 0 else None
    if tensor is None or tensor.data is None or tensor.size == 0:
        raise Refusal(f"{op.kind} {graph.tensors[op.outputs[0]].name!r} needs constants as operand {slot}")
    values = [int(value) for value in tensor.data.reshape(-1)]
    if bound is not None and any(not -bound <= value < bound for value in values):
        raise SpecError(f"{op.kind} {graph.tensors[op.outputs[0]].name!r}: {values} are not dimensions of {bound}")
    return values


def _step(
    op: Op,
    graph: Graph,
    call: str,
    sources: tuple[str, ...],
    constants: tuple[Constant, ...] = (),
    leads: dict[int, int | None] | None = None,
    inputs: tuple[int, ...] | None = None,
) -> Step:
    shapes = [graph.tensors[index].shape for index in (op.inputs[0], op.outputs[0])]
    given, made = ("x".join(map(str, shape[1:] or shape)) for shape in shapes)
    title = f"{op.kind.lower().replace('_', ' ')}, {given} -> {made}"
    return Step(
        title, call, op.inputs[:1] if inputs is None else inputs, op.outputs[0], sources, constants, leads=leads or {}
    )
