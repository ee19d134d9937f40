"""What only moves or renames data: reshapes, permutations, padding, concatenation; and what does nothing."""

from __future__ import annotations

import math

from autoshrink.backends.cortex_m.convert.builder import Builder, Value
from autoshrink.backends.cortex_m.convert.rules.call import Call, Rules
from autoshrink.backends.cortex_m.convert.views import Axis, View, same_steps

__all__ = ["RULES"]


def _same(builder: Builder, call: Call) -> Value:
    name = "self" if "self" in call.arguments else "input"
    value = call.value(name)
    if value.shape != call.shape:
        raise call.refusal(f"from {value.shape} to {call.shape}")
    return value


def _dropout(builder: Builder, call: Call) -> Value:
    if call["train"]:
        raise call.refusal("that is active")
    return call.value("input")


def _reshape(builder: Builder, call: Call) -> Value:
    value = call.value("self")
    return Value(value.name, value.view.reshape(call.shape))


def _permute(builder: Builder, call: Call) -> Value:
    value = call.value("self")
    rank = len(value.shape)
    if "dims" in call.arguments:
        order = [dim % rank for dim in call["dims"]]
    else:
        order = list(range(rank))
        one, other = (call["dim0"] % rank, call["dim1"] % rank) if "dim0" in call.arguments else (rank - 2, rank - 1)
        order[one], order[other] = other, one
    return Value(value.name, value.view.permute(order))


def _pad(builder: Builder, call: Call) -> Value:
    value, pads = call.value("self"), list(call["pad"])
    if call.arguments.get("mode", "constant") != "constant" or call.arguments.get("value"):
        raise call.refusal("with another value than zero")
    rank = len(value.shape)
    grown = {rank - 1 - i // 2: (pads[i], pads[i + 1]) for i in range(0, len(pads), 2) if pads[i] or pads[i + 1]}
    if not grown:
        return value
    if any(size < 0 for pair in grown.values() for size in pair):
        raise call.refusal("that cuts")
    if 0 in grown:
        raise call.refusal("of examples")
    orders = ((*range(2, rank), 1), tuple(range(1, rank)))
    order = next((order for order in orders if value.view.in_memory(*order)), None)
    if order is None:
        raise builder.layout_refusal()
    amounts = [grown.get(dim, (0, 0)) for dim in order]
    sizes = [value.shape[dim] for dim in order]
    if rank == 3:  # as the image of height 1 that a convolution over one dimension reads
        amounts, sizes = [(0, 0), *amounts], [1, *sizes]
    shape = (1, *(size + sum(amount) for size, amount in zip(sizes, amounts, strict=True)))
    made = builder.emit("pad", [builder.shaped(value, (1, *sizes))], shape, pads=((0, 0), *amounts))
    return Value(made, View.of(call.shape, (0, *order)))


def _concatenate(builder: Builder, call: Call) -> Value:
    values = call["tensors"]
    if not all(isinstance(value, Value) for value in values):
        raise call.refusal("with a constant")
    rank = len(call.shape)
    dim = call.arguments.get("dim", 0) % rank
    views = [value.view for value in values]
    for other in set(range(rank)) - {dim}:
        views = same_steps(views, other)
    if dim == 0 and not any(view.dims[0] for view in views):
        raise call.refusal("of examples")
    outers, inners = [], []
    for view in views:
        group = view.dims[dim]
        start = view.memory.index(group[0]) if group else None
        if start is None or view.memory[start : start + len(group)] != group:
            raise builder.layout_refusal()
        outers.append([_where(view, axis) for axis in view.memory[:start]])
        inners.append([_where(view, axis) for axis in view.memory[start + len(group) :]])
    if any(outer != outers[0] for outer in outers) or any(inner != inners[0] for inner in inners):
        raise builder.layout_refusal()
    first = views[0]
    outer = first.memory[: len(outers[0])]
    inner = first.memory[len(first.memory) - len(inners[0]) :]
    joined = Axis(call.shape[dim])
    sizes = [axis.size for axis in outer]
    shaped = builder.network.shapes[values[0].name]
    names, lead = [], _lead(shaped, sizes, views[0].shape[dim], math.prod(axis.size for axis in inner))
    tail = (math.prod(axis.size for axis in inner),) if inner else ()
    for value in values:
        names.append(builder.shaped(value, (1, *lead, value.shape[dim], *tail)))
    made = builder.emit("concat", names, (1, *lead, joined.size, *tail), axis=1 + len(lead))
    dims = tuple((joined,) if index == dim else group for index, group in enumerate(first.dims))
    return Value(made, View((*outer, joined, *inner), dims))


def _lead(shape: tuple[int, ...], sizes: list[int], channels: int, inner: int) -> tuple[int, ...]:
    # The outer dimensions as the tensor has them when it ends with the joined dimension, else as few as it takes.
    if inner == 1 and shape[-1] == channels and math.prod(shape[1:-1]) == math.prod(sizes):
        return shape[1:-1]
    return (math.prod(sizes),) if sizes else ()


def _where(view: View, axis: Axis) -> tuple[int, int]:
    return next((dim, len(group) - group.index(axis)) for dim, group in enumerate(view.dims) if axis in group)


_NOTHING = ("alias", "clone", "contiguous", "detach", "to", "_to_copy", "type_as", "expand")
_RESHAPES = ("view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as", "reshape_as")
RULES: Rules = {
    **dict.fromkeys(_NOTHING, _same),
    **dict.fromkeys(_RESHAPES, _reshape),
    **dict.fromkeys(("permute", "transpose", "t", "numpy_T"), _permute),
    **dict.fromkeys(("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"), _dropout),
    "pad": _pad,
    "constant_pad_nd": _pad,
    "cat": _concatenate,
    "concat": _concatenate,
}
