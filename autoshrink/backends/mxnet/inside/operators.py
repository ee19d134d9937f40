"""What each ONNX operator is in MXNet: a table of functions from a node to a symbol, or to several.

MXNet's own importer is not used: it makes a matrix product of every linear layer, which its quantizer leaves in float,
puts operators between layers that would be fused, and knows neither attention nor recurrent layers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mxnet as mx
import numpy as np

from .graph import Node, Unknown, norm_factors
from .layers import LAYERS

__all__ = ["translate"]

Translation = Callable[[Node], Any]
sym = mx.sym
_LARGEST = float(np.finfo(np.float32).max)


def translate(node: Node) -> list[Any]:
    """Give the symbols of a node's outputs.

    Raises:
        Unknown: there are none.
    """
    found = TABLE.get(node.kind)
    if found is None:
        raise Unknown(f"there is no operator {node.kind}")
    made = found(node)
    return made if isinstance(made, list) else [made]


def _activation(kind: str) -> Translation:
    return lambda node: sym.Activation(node[0], act_type=kind, name=node.name)


def _plain(function: Callable[..., Any]) -> Translation:
    return lambda node: function(node[0])


def _binary(
    by_number: Callable[[Any, Any], Any], whole: Callable[..., Any], same: Callable[..., Any] | None = None
) -> Translation:
    """Combine two values: a single number is part of the operator, and two of one shape need no broadcasting."""

    def combine(node: Node) -> Any:
        for at, other in ((1, 0), (0, 1)):
            value = node.values[at]
            if value is not None and value.size == 1 and node.shapes[other] == node.given[0]:
                number = float(value.ravel()[0])
                if np.isfinite(number):
                    return by_number(node[0], number) if at else by_number(number, node[1])
        if same is not None and node.shapes[0] == node.shapes[1]:
            return same(*node.every())
        return whole(*_ranked(node, node.every(), node.shapes))

    return combine


def _ranked(node: Node, symbols: list[Any], shapes: list[tuple[int, ...]]) -> list[Any]:
    """Give all symbols as many dimensions as the output has."""
    rank = len(node.given[0])
    return [
        symbol if len(shape) == rank else sym.reshape(symbol, shape=(1,) * (rank - len(shape)) + shape)
        for symbol, shape in zip(symbols, shapes, strict=True)
    ]


def _compare(function: Callable[..., Any]) -> Translation:
    return lambda node: function(*_ranked(node, node.every(), node.shapes))


def _reshape(node: Node) -> Any:
    return sym.reshape(node[0], shape=node.given[0] or (1,))


def _flatten(node: Node) -> Any:
    return sym.flatten(node[0]) if node.get("axis", 1) == 1 else _reshape(node)


def _expand(node: Node) -> Any:
    (ranked,) = _ranked(node, [node[0]], node.shapes[:1])
    return sym.broadcast_to(ranked, shape=node.given[0])


def _where(node: Node) -> Any:
    ranked = _ranked(node, node.every(), node.shapes)
    return sym.where(*(sym.broadcast_to(one, shape=node.given[0]) for one in ranked))


def _cast(node: Node) -> Any:
    to = node.get("to")
    if to == 9:  # truth values
        return node[0] != 0
    return node[0] if to in (1, 10, 11) else sym.fix(node[0])  # floats of any size


def _gather(node: Node) -> Any:
    axis, indices = node.get("axis", 0), node.values[1]
    if indices is None:
        if node.values[0] is not None and axis == 0 and len(node.shapes[0]) == 2:
            rows, columns = node.shapes[0]
            weight = node.parameter("weight", node.value(0))
            return sym.Embedding(node[1], weight, input_dim=rows, output_dim=columns, name=node.name)
        return sym.take(node[0], node[1], axis=axis)
    size = node.shapes[0][axis]
    chosen = indices.astype(np.int64) % size
    if chosen.size == 1:
        begin = int(chosen.ravel()[0])
        return sym.reshape(sym.slice_axis(node[0], axis=axis, begin=begin, end=begin + 1), shape=node.given[0] or (1,))
    return sym.take(node[0], node.parameter("indices", chosen), axis=axis)


def _slice(node: Node) -> Any:
    shape = node.shapes[0]
    begins, ends = node.whole(1), node.whole(2)
    axes = node.whole(3) if node.has(3) else range(len(begins))
    steps = node.whole(4) if node.has(4) else [1] * len(begins)
    made = node[0]
    for axis, begin, end, step in zip(axes, begins, ends, steps, strict=True):
        begin, end, step = slice(begin, end, step).indices(shape[axis])
        if step == 1:
            made = sym.slice_axis(made, axis=axis, begin=begin, end=end)
        else:
            made = sym.take(made, node.parameter(f"{axis}_indices", np.arange(begin, end, step)), axis=axis)
    return made


def _split(node: Node) -> list[Any]:
    axis, at, made = node.get("axis", 0), 0, []
    for shape in node.given:
        made.append(sym.slice_axis(node[0], axis=axis, begin=at, end=at + shape[axis]))
        at += shape[axis]
    return made


def _depth_to_space(node: Node) -> Any:
    rows, channels, height, width = node.shapes[0]
    size = node.get("blocksize")
    left = channels // size**2
    by_column = node.get("mode", "DCR") == "DCR"
    parts = (size, size, left) if by_column else (left, size, size)
    split = sym.reshape(node[0], shape=(rows, *parts, height, width))
    axes = (0, 3, 4, 1, 5, 2) if by_column else (0, 1, 4, 2, 5, 3)
    return sym.reshape(sym.transpose(split, axes=axes), shape=node.given[0])


def _reduce(function: Callable[..., Any]) -> Translation:
    def reduce(node: Node) -> Any:
        axes = node.whole(1) if node.has(1) else node.get("axes")
        axes = tuple(range(len(node.shapes[0]))) if axes is None else tuple(axes)
        return function(node[0], axis=axes, keepdims=bool(node.get("keepdims", 1)))

    return reduce


def _clip(node: Node) -> Any:
    low = float(node.value(1)) if node.has(1) else -_LARGEST
    high = float(node.value(2)) if node.has(2) else _LARGEST
    return sym.clip(node[0], a_min=low, a_max=high)


def _norm(node: Node) -> Any:
    scale, shift = norm_factors(node.attributes, [node.value(index) for index in range(1, 5)])
    shape = (1, -1) + (1,) * (len(node.shapes[0]) - 2)
    scaled = sym.broadcast_mul(node[0], node.parameter("scale", scale.reshape(shape)))
    return sym.broadcast_add(scaled, node.parameter("shift", shift.reshape(shape)))


def _prelu(node: Node) -> Any:
    slope = node.value(1)
    if slope.size > 1:
        slope = slope.reshape((1, -1) + (1,) * (len(node.shapes[0]) - 2))
        scaled = sym.broadcast_mul(node[0], node.parameter("slope", slope))
        return sym.where(node[0] > 0, node[0], scaled)
    return sym.LeakyReLU(node[0], act_type="leaky", slope=float(slope.ravel()[0]))


def _hard_sigmoid(node: Node) -> Any:
    return sym.hard_sigmoid(node[0], alpha=node.get("alpha", 0.2), beta=node.get("beta", 0.5))


def _softmax(function: Callable[..., Any]) -> Translation:
    return lambda node: function(node[0], axis=node.get("axis", -1))


TABLE: dict[str, Translation] = {
    **LAYERS,
    "Abs": _plain(sym.abs),
    "Add": _binary(lambda a, b: a + b, sym.broadcast_add, sym.elemwise_add),
    "And": _compare(sym.broadcast_logical_and),
    "BatchNormalization": _norm,
    "Cast": _cast,
    "Ceil": _plain(sym.ceil),
    "Clip": _clip,
    "Concat": lambda node: sym.Concat(*node.every(), dim=node.get("axis")),
    "Cos": _plain(sym.cos),
    "DepthToSpace": _depth_to_space,
    "Div": _binary(lambda a, b: a / b, sym.broadcast_div, sym.elemwise_div),
    "Dropout": _plain(sym.identity),
    "Elu": lambda node: sym.LeakyReLU(node[0], act_type="elu", slope=node.get("alpha", 1.0)),
    "Equal": _compare(sym.broadcast_equal),
    "Erf": _plain(sym.erf),
    "Exp": _plain(sym.exp),
    "Expand": _expand,
    "Flatten": _flatten,
    "Floor": _plain(sym.floor),
    "Gather": _gather,
    "Greater": _compare(sym.broadcast_greater),
    "GreaterOrEqual": _compare(sym.broadcast_greater_equal),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda node: node[0] * sym.hard_sigmoid(node[0], alpha=1 / 6, beta=0.5),
    "Identity": _plain(sym.identity),
    "InstanceNormalization": lambda node: sym.InstanceNorm(*node.every(), eps=node.get("epsilon", 1e-5)),
    "LeakyRelu": lambda node: sym.LeakyReLU(node[0], act_type="leaky", slope=node.get("alpha", 0.01)),
    "Less": _compare(sym.broadcast_lesser),
    "LessOrEqual": _compare(sym.broadcast_lesser_equal),
    "Log": _plain(sym.log),
    "LogSoftmax": _softmax(sym.log_softmax),
    "Max": _compare(sym.broadcast_maximum),
    "Min": _compare(sym.broadcast_minimum),
    "Mul": _binary(lambda a, b: a * b, sym.broadcast_mul, sym.elemwise_mul),
    "Neg": _plain(sym.negative),
    "Not": _plain(sym.logical_not),
    "Or": _compare(sym.broadcast_logical_or),
    "PRelu": _prelu,
    "Pow": _binary(lambda a, b: a**b, sym.broadcast_power),
    "Reciprocal": _plain(sym.reciprocal),
    "ReduceMax": _reduce(sym.max),
    "ReduceMean": _reduce(sym.mean),
    "ReduceMin": _reduce(sym.min),
    "ReduceProd": _reduce(sym.prod),
    "ReduceSum": _reduce(sym.sum),
    "Relu": _activation("relu"),
    "Reshape": _reshape,
    "Selu": lambda node: sym.LeakyReLU(node[0], act_type="selu"),
    "Sigmoid": _activation("sigmoid"),
    "Sign": _plain(sym.sign),
    "Sin": _plain(sym.sin),
    "Slice": _slice,
    "Softmax": _softmax(sym.softmax),
    "Softplus": _activation("softrelu"),
    "Softsign": _plain(sym.softsign),
    "Split": _split,
    "Sqrt": _plain(sym.sqrt),
    "Squeeze": _reshape,
    "Sub": _binary(lambda a, b: a - b, sym.broadcast_sub, sym.elemwise_sub),
    "Tanh": _activation("tanh"),
    "Transpose": lambda node: sym.transpose(node[0], axes=tuple(node.get("perm", ()))),
    "Unsqueeze": _reshape,
    "Where": _where,
}
