"""The calls of pools and means."""

from __future__ import annotations

import math

from autoshrink.backends.cortex_m.generate.fixed_point import activation_range, quantize_multiplier
from autoshrink.backends.cortex_m.generate.linear import window
from autoshrink.backends.cortex_m.generate.steps import Constant, Step, constant_integers, plain_step, struct
from autoshrink.backends.cortex_m.graph import Graph, Op
from autoshrink.core import Refusal, SpecError

__all__ = ["mean_step", "pool_step"]


def pool_step(graph: Graph, op: Op, number: int) -> Step:
    """Make the call for an average or maximum over windows."""
    given, made = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    if (given.scale, given.zero_point) != (made.scale, made.zero_point):
        raise Refusal(f"{op.kind} must keep the quantization of its input ({made.name})")
    sliding = window(op, given, made, (op.integer("filter_h"), op.integer("filter_w")))
    if given.shape[3] != made.shape[3]:
        raise SpecError(f"{op.kind} {made.name!r} changes the number of channels")
    low, high = activation_range(op.activation, made.scale, made.zero_point)
    fields = struct(
        in_c=given.shape[3], out_c=given.shape[3], in_h=given.shape[1], in_w=given.shape[2], out_h=made.shape[1],
        out_w=made.shape[2], kernel_h=sliding.kernel[0], kernel_w=sliding.kernel[1], stride_h=sliding.stride[0],
        stride_w=sliding.stride[1], dilation_h=1, dilation_w=1, pad_top=sliding.before[0], pad_left=sliding.before[1],
        low=low, high=high,
    )  # fmt: skip
    function = "as_average_pool" if op.kind == "AVERAGE_POOL_2D" else "as_max_pool"
    constants = (Constant(f"window_{number}", "as_window", fields),)
    return plain_step(graph, op, f"{function}(&window_{number}, {{a}}, {{out}});", ("as_pool.c",), constants)


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
    return plain_step(graph, op, f"as_mean(&reduction_{number}, {{a}}, {{out}});", ("as_pool.c",), constants)
