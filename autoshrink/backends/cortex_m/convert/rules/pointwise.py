"""Activation functions and arithmetic between tensors."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from autoshrink.backends.cortex_m.convert.builder import Builder, Value
from autoshrink.backends.cortex_m.convert.network import Kind
from autoshrink.backends.cortex_m.convert.rules.call import Call, Rules

__all__ = ["RULES"]


def _unary(kind: Kind, builder: Builder, call: Call) -> Value:
    return builder.unary(kind, call.value("self"))


def _clip(builder: Builder, call: Call) -> Value:
    """Read hardtanh, clamp and clamp_min, where the bounds are those of an activation function."""
    low = call.arguments.get("min_val", call.arguments.get("min"))
    high = call.arguments.get("max_val", call.arguments.get("max"))
    kinds: dict[tuple[object, object], Kind] = {(0, None): "relu", (0, 6): "relu6", (0, 1): "unit"}
    if not isinstance(low, int | float) or (low, high) not in kinds:
        raise call.refusal(f"to {low}…{high}")
    return builder.unary(kinds[low, high], call.value("self"))


def _hard_sigmoid(builder: Builder, call: Call) -> Value:
    return builder.unary("unit", builder.affine(call.value("self"), 1 / 6, 0.5))


def _silu(builder: Builder, call: Call) -> Value:
    value = call.value("self")
    return _join(builder, call, "mul", value, builder.unary("sigmoid", value))


def _softmax(builder: Builder, call: Call) -> Value:
    value = call.value("self")
    view, dim = value.view, call["dim"] % len(value.shape)
    group = set(view.dims[dim])
    head = len(view.memory) - len(group)
    if set(view.memory[head:]) != group:
        raise builder.layout_refusal()
    sizes = [axis.size for axis in view.memory]
    rows = int(torch.Size(sizes[:head]).numel())
    shape = (1, value.shape[dim]) if rows == 1 else (1, rows, value.shape[dim])
    return Value(builder.emit("softmax", [builder.shaped(value, shape)], shape), view)


def _add(builder: Builder, call: Call, sign: float = 1.0) -> Value:
    one, other = call["self"], call["other"]
    factor = sign * float(call.arguments.get("alpha", 1))
    if isinstance(one, Value) and isinstance(other, Value):
        if factor != 1:
            other = builder.affine(other, factor, 0.0)
        return _join(builder, call, "add", one, other)
    if isinstance(one, Value):
        return builder.affine(one, 1.0, _number(other) * factor)
    return builder.affine(other, factor, _number(one))


def _reversed_subtraction(builder: Builder, call: Call) -> Value:
    one, other = call.value("self"), call["other"]
    if isinstance(other, Value) or call["alpha"] != 1:
        raise call.refusal()
    return builder.affine(one, -1.0, _number(other))


def _multiply(builder: Builder, call: Call) -> Value:
    one, other = call["self"], call["other"]
    if isinstance(one, Value) and isinstance(other, Value):
        return _join(builder, call, "mul", one, other)
    value, constant = (one, other) if isinstance(one, Value) else (other, one)
    return builder.affine(value, _number(constant), 0.0)


def _divide(builder: Builder, call: Call) -> Value:
    one, other = call["self"], call["other"]
    if not isinstance(one, Value) or isinstance(other, Value) or call.arguments.get("rounding_mode") is not None:
        raise call.refusal("by an activation" if isinstance(other, Value) else "")
    return builder.affine(one, 1 / _number(other), 0.0)


def _negate(builder: Builder, call: Call) -> Value:
    return builder.affine(call.value("self"), -1.0, 0.0)


def _join(builder: Builder, call: Call, kind: Kind, one: Value, other: Value) -> Value:
    names, shape, view = builder.aligned([one, other])
    return Value(builder.emit(kind, names, shape), view)


def _number(constant: Tensor | float) -> Tensor:
    return torch.as_tensor(constant, dtype=torch.float64)


_UNARY: dict[str, Kind] = {
    "relu": "relu",
    "relu6": "relu6",
    "hardswish": "hard_swish",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
}
RULES: Rules = {
    **{operator: partial(_unary, kind) for operator, kind in _UNARY.items()},
    "hardtanh": _clip,
    "clamp": _clip,
    "clamp_min": _clip,
    "hardsigmoid": _hard_sigmoid,
    "silu": _silu,
    "softmax": _softmax,
    "_softmax": _softmax,
    "add": _add,
    "sub": partial(_add, sign=-1.0),
    "rsub": _reversed_subtraction,
    "mul": _multiply,
    "div": _divide,
    "neg": _negate,
}
