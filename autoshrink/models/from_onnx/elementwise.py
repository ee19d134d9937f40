"""Operators that work number by number, and reductions: activations, arithmetic, comparisons, means and sums."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from autoshrink.models.from_onnx.building import Builder, Value
from autoshrink.models.from_onnx.reading import Node, NotTranslatedError

__all__ = ["RULES"]

_FORMATS = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 11: torch.float64}
"""torch's number formats by ONNX's number of them."""
_SIXTH, _CLOSE = 1 / 6, 1e-6


def _unary(function: Callable[..., Tensor], build: Builder, node: Node) -> Value:
    return build.call(function, build.get(node, 0))


def _binary(function: Callable[..., Any], build: Builder, node: Node) -> Value:
    return build.call(function, build.get(node, 0), build.get(node, 1), scalars=True)


def _divide(build: Builder, node: Node) -> Value:
    value, other = build.get(node, 0), build.get(node, 1)
    if value.samples[0].is_floating_point():
        return build.call(operator.truediv, value, other, scalars=True)
    return build.call(torch.div, value, other, scalars=True, rounding_mode="trunc")


def _modulo(build: Builder, node: Node) -> Value:
    function = torch.fmod if node.attributes.get("fmod", 0) else torch.remainder
    return build.call(function, build.get(node, 0), build.get(node, 1))


def _where(build: Builder, node: Node) -> Value:
    return build.call(torch.where, *(build.get(node, index) for index in range(3)))


def _clip(build: Builder, node: Node) -> Value:
    value = build.get(node, 0)
    low, high = (None if build.optional(node, at) is None else build.constant(node, at).item() for at in (1, 2))
    if (low, high) == (0, 6):
        return build.call(F.relu6, value)
    if low == 0 and high is None:
        return build.call(F.relu, value)
    return build.call(torch.clamp, value, low, high)


def _leaky(build: Builder, node: Node) -> Value:
    return build.call(F.leaky_relu, build.get(node, 0), float(node.attributes.get("alpha", 0.01)))


def _elu(build: Builder, node: Node) -> Value:
    return build.call(F.elu, build.get(node, 0), float(node.attributes.get("alpha", 1.0)))


def _hard_sigmoid(build: Builder, node: Node) -> Value:
    alpha, beta = float(node.attributes.get("alpha", 0.2)), float(node.attributes.get("beta", 0.5))
    if abs(alpha - _SIXTH) < _CLOSE and beta == 0.5:
        return build.call(F.hardsigmoid, build.get(node, 0))
    scaled = build.call(operator.mul, build.get(node, 0), alpha)
    return build.call(torch.clamp, build.call(operator.add, scaled, beta), 0.0, 1.0)


def _gelu(build: Builder, node: Node) -> Value:
    kind = node.attributes.get("approximate", b"none")
    return build.call(F.gelu, build.get(node, 0), approximate="tanh" if kind == b"tanh" else "none")


def _softmax(build: Builder, node: Node) -> Value:
    value = build.get(node, 0)
    rank = value.samples[0].dim()
    older = build.graph.opset < 13
    axis = int(node.attributes.get("axis", 1 if older else -1)) % rank
    if older and axis != rank - 1:
        raise NotTranslatedError(f"{node} of opset {build.graph.opset} spans several axes: export with opset 13")
    return build.call(torch.softmax if node.op == "Softmax" else torch.log_softmax, value, axis)


def _reduce(function: Callable[..., Tensor], build: Builder, node: Node) -> Value:
    value = build.get(node, 0)
    axes = build.ints(node, 1) if len(node.inputs) > 1 else list(node.attributes.get("axes", ()))
    if not axes:
        if node.attributes.get("noop_with_empty_axes", 0):
            return value
        axes = list(range(value.samples[0].dim()))
    return build.call(function, value, [int(axis) for axis in axes], bool(node.attributes.get("keepdims", 1)))


def _cast(build: Builder, node: Node) -> Value:
    kind = _FORMATS.get(int(node.attributes.get("to", 0)))
    if kind is None:
        raise NotTranslatedError(f"{node} casts to a number format that is not read; export the model in float32")
    value = build.get(node, 0)
    return value if value.samples[0].dtype == kind else build.call(torch.Tensor.to, value, kind)


RULES: dict[str, Callable[[Builder, Node], Value]] = {
    "Relu": partial(_unary, F.relu),
    "Sigmoid": partial(_unary, torch.sigmoid),
    "Tanh": partial(_unary, torch.tanh),
    "Erf": partial(_unary, torch.erf),
    "Sqrt": partial(_unary, torch.sqrt),
    "Exp": partial(_unary, torch.exp),
    "Log": partial(_unary, torch.log),
    "Neg": partial(_unary, torch.neg),
    "Abs": partial(_unary, torch.abs),
    "Reciprocal": partial(_unary, torch.reciprocal),
    "Not": partial(_unary, torch.logical_not),
    "HardSwish": partial(_unary, F.hardswish),
    "Softplus": partial(_unary, F.softplus),
    "Clip": _clip,
    "LeakyRelu": _leaky,
    "Elu": _elu,
    "HardSigmoid": _hard_sigmoid,
    "Gelu": _gelu,
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
    "Add": partial(_binary, operator.add),
    "Sub": partial(_binary, operator.sub),
    "Mul": partial(_binary, operator.mul),
    "Div": _divide,
    "Mod": _modulo,
    "Pow": partial(_binary, operator.pow),
    "Equal": partial(_binary, operator.eq),
    "Greater": partial(_binary, operator.gt),
    "Less": partial(_binary, operator.lt),
    "And": partial(_binary, torch.logical_and),
    "Where": _where,
    "Cast": _cast,
    "ReduceMean": partial(_reduce, torch.mean),
    "ReduceSum": partial(_reduce, torch.sum),
    "ReduceMax": partial(_reduce, torch.amax),
}
"""How each of these operators is made of torch's, by its type."""
