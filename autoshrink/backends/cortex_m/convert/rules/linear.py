"""Convolutions, linear layers and batch normalization."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from autoshrink.backends.cortex_m.convert.builder import Builder, Value
from autoshrink.backends.cortex_m.convert.network import Kind, Window
from autoshrink.backends.cortex_m.convert.rules.call import Call, Rules, pair
from autoshrink.backends.cortex_m.convert.views import Axis, View
from autoshrink.core import Refusal

__all__ = ["RULES"]


def _convolution(builder: Builder, call: Call) -> Value:
    value, weight = call.value("input"), call.constant("weight")
    bias, groups = call.constant("bias"), int(call["groups"])
    assert weight is not None
    dims = weight.dim() - 2
    if dims not in (1, 2) or len(value.shape) != dims + 2:
        raise call.refusal(f"over {dims} dimensions on a tensor of shape {value.shape}")
    kernel = pair(list(weight.shape[2:]), dims)
    stride, dilation = pair(call["stride"], dims), pair(call["dilation"], dims)
    pads = _pads(call["padding"], dims, kernel, dilation)
    window = Window(kernel, stride, dilation, pads)
    array = _array(weight).reshape(weight.shape[0], weight.shape[1], *kernel).transpose(0, 2, 3, 1)
    kind: Kind = "conv" if groups == 1 else "depthwise"
    if groups == 1:
        image = builder.image(value, shuffled=True)
        array = array[..., value.view.positions(1)]
    elif groups == value.shape[1]:
        image = builder.image(value)
        array = array.transpose(3, 1, 2, 0)
    else:
        raise call.refusal(f"with {groups} groups of {value.shape[1] // groups} channels")
    _, height, width, _ = builder.network.shapes[image]
    out = weight.shape[0]
    settings = {"weight": np.ascontiguousarray(array), "gain": np.ones(out), "bias": _bias(bias, out)}
    shape = (1, *window.positions(height, width), out)
    made = builder.emit(kind, [image], shape, window=window, **settings)
    return builder.from_image(made, value)


def _pads(
    padding: str | int | list[int], dims: int, kernel: tuple[int, int], dilation: tuple[int, int]
) -> tuple[int, int, int, int]:
    if padding == "valid":
        return 0, 0, 0, 0
    if padding == "same":
        totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        top, left = (total // 2 for total in totals)
        return top, totals[0] - top, left, totals[1] - left
    assert not isinstance(padding, str)
    height, width = pair(padding, dims, default=0)
    return height, height, width, width


def _linear(builder: Builder, call: Call) -> Value:
    weight = call.constant("weight")
    assert weight is not None
    return _product(builder, call, call.value("input"), weight, call.constant("bias"))


def _matmul(builder: Builder, call: Call) -> Value:
    value, other = call.arguments.get("self"), call.arguments.get("other", call.arguments.get("mat2"))
    if not isinstance(value, Value) or not isinstance(other, Tensor) or other.dim() != 2:
        raise call.refusal("of two activations" if isinstance(other, Value) else "")
    return _product(builder, call, value, other.t(), None)


def _addmm(builder: Builder, call: Call) -> Value:
    value, other, bias = call["mat1"], call["mat2"], call["self"]
    if not isinstance(value, Value) or not isinstance(other, Tensor) or not isinstance(bias, Tensor):
        raise call.refusal("of two activations")
    if call["beta"] != 1 or call["alpha"] != 1 or bias.dim() != 1:
        raise call.refusal("with factors")
    return _product(builder, call, value, other.t(), bias)


def _product(builder: Builder, call: Call, value: Value, weight: Tensor, bias: Tensor | None) -> Value:
    """Multiply the last dimension, in whatever order memory has it, with a matrix (out, in)."""
    view, last = value.view, len(value.view.dims) - 1
    rest = tuple(axis for dim in view.dims[:last] for axis in dim)
    if view.memory[: len(rest)] != rest:
        raise builder.layout_refusal()
    array = _array(weight)[:, view.positions(last)]
    out, inner = array.shape
    settings = {"gain": np.ones(out), "bias": _bias(bias, out)}
    rows = int(np.prod([axis.size for axis in rest], dtype=int))
    if rows == 1:
        name = builder.shaped(value, (1, inner))
        made = builder.emit("fully_connected", [name], (1, out), weight=array, **settings)
    else:
        name = builder.shaped(value, (1, 1, rows, inner))
        kernel = array.reshape(out, 1, 1, inner)
        made = builder.emit("conv", [name], (1, 1, rows, out), window=Window((1, 1)), weight=kernel, **settings)
    axis = (Axis(out),) if out != 1 else ()
    return Value(made, View((*rest, *axis), (*view.dims[:last], axis)))


def _batch_norm(builder: Builder, call: Call) -> Value:
    value = call.value("input")
    mean, variance = call.constant("running_mean"), call.constant("running_var")
    if call["training"] or mean is None or variance is None:
        raise Refusal(f"batch normalization without running statistics in {call.where} can't be deployed")
    scale = 1 / torch.sqrt(variance.double() + call["eps"])
    weight, bias = call.constant("weight"), call.constant("bias")
    scale = scale if weight is None else scale * weight.double()
    shift = -mean.double() * scale
    shift = shift if bias is None else shift + bias.double()
    across = [-1] + [1] * (len(value.shape) - 2)
    return builder.affine(value, scale.reshape(across), shift.reshape(across))


def _array(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.detach().double().numpy()
    return array


def _bias(bias: Tensor | None, channels: int) -> np.ndarray:
    return np.zeros(channels) if bias is None else _array(bias).copy()


RULES: Rules = {
    "conv1d": _convolution,
    "conv2d": _convolution,
    "linear": _linear,
    "matmul": _matmul,
    "mm": _matmul,
    "addmm": _addmm,
    "batch_norm": _batch_norm,
}
