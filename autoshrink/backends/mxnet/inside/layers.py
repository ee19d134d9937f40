"""ONNX operators that have weights, or slide a window, as symbols of MXNet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mxnet as mx
import numpy as np

from .graph import Node, Unknown

__all__ = ["LAYERS"]

sym = mx.sym


def _window(node: Node) -> tuple[dict[str, Any], list[tuple[int, int]]]:
    """Give kernel, stride and dilation, and what is padded before and after each dimension."""
    if node.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise Unknown(f"{node.kind} with automatic padding")
    kernel = tuple(node.get("kernel_shape") or node.shapes[1][2:])
    rank = len(kernel)
    pads = list(node.get("pads", [0] * (2 * rank)))
    settings = {"kernel": kernel, "stride": tuple(node.get("strides", [1] * rank))}
    return settings, list(zip(pads[:rank], pads[rank:], strict=True))


def _padded(symbol: Any, shape: tuple[int, ...], around: list[tuple[int, int]], value: float, mode: str) -> Any:
    """Pad the last dimensions; MXNet does so for four and five dimensions, and not the first two."""
    widths = [(0, 0)] * (len(shape) - len(around)) + around
    lead = max(4 - len(shape), 0)
    widths = [(0, 0)] * lead + widths
    if (
        any(width != (0, 0) for width in widths[:2])
        or len(widths) > 5
        or any(side < 0 for one in widths for side in one)
    ):
        raise Unknown(f"Pad of this kind, by {around}")
    made = sym.reshape(symbol, shape=(1,) * lead + shape) if lead else symbol
    flat = tuple(side for width in widths for side in width)
    made = sym.pad(made, mode=mode, pad_width=flat, constant_value=value)
    if not lead:
        return made
    return sym.reshape(made, shape=tuple(size + sum(width) for size, width in zip(shape, widths[lead:], strict=True)))


def _conv(node: Node) -> Any:
    settings, around = _window(node)
    data = node[0]
    if any(before != after for before, after in around):
        data, around = _padded(data, node.shapes[0], around, 0.0, "constant"), [(0, 0)] * len(around)
    weight = node.value(1)
    settings |= {"dilate": tuple(node.get("dilations", [1] * len(around))), "pad": tuple(one for one, _ in around)}
    return _with_bias(
        sym.Convolution, node, data, weight, num_filter=len(weight), num_group=node.get("group", 1), **settings
    )


def _deconv(node: Node) -> Any:
    settings, around = _window(node)
    if any(before != after for before, after in around):
        raise Unknown("ConvTranspose with different padding on two sides")
    weight, groups = node.value(1), node.get("group", 1)
    settings |= {
        "adj": tuple(node.get("output_padding", [0] * len(around))),
        "dilate": tuple(node.get("dilations", [1] * len(around))),
        "pad": tuple(one for one, _ in around),
    }
    return _with_bias(
        sym.Deconvolution,
        node,
        node[0],
        weight,
        num_filter=weight.shape[1] * groups,
        num_group=groups,
        **settings,
    )


def _with_bias(layer: Callable[..., Any], node: Node, data: Any, weight: np.ndarray, **settings: Any) -> Any:
    given = [data, node.parameter("weight", weight)]
    if node.has(2):
        given.append(node.parameter("bias", node.value(2)))
    return layer(*given, no_bias=len(given) == 2, name=node.name, **settings)


def _gemm(node: Node) -> Any:
    weight = node.value(1) if node.get("transB") else node.value(1).T
    if node.get("transA"):
        raise Unknown("Gemm of a transposed input")
    node.values[1] = weight * node.get("alpha", 1.0)
    if node.has(2):
        bias = np.broadcast_to(node.value(2).ravel(), len(weight))
        node.values[2] = bias * node.get("beta", 1.0)
    return _linear(node, node.values[1])


def _linear(node: Node, weight: Any) -> Any:
    return _with_bias(sym.FullyConnected, node, node[0], weight, num_hidden=len(weight), flatten=False)


def _matmul(node: Node) -> Any:
    if node.values[1] is not None and node.values[1].ndim == 2:
        return _linear(node, node.value(1).T)
    left, right = node.shapes[:2]
    if len(left) < 3 or left[:-2] != right[:-2]:
        raise Unknown(f"MatMul of the shapes {left} and {right}")
    flat = [sym.reshape(one, shape=(-1, *shape[-2:])) for one, shape in zip(node.every(), (left, right), strict=True)]
    return sym.reshape(sym.batch_dot(*flat), shape=node.given[0])


def _pool(kind: str) -> Callable[[Node], Any]:
    def pool(node: Node) -> Any:
        settings, around = _window(node)
        if any(size != 1 for size in node.get("dilations", [])):
            raise Unknown(f"{node.kind} with dilation")
        if any(before != after for before, after in around):
            raise Unknown(f"{node.kind} with different padding on two sides")
        convention = "full" if node.get("ceil_mode") else "valid"
        if kind == "avg":
            settings["count_include_pad"] = bool(node.get("count_include_pad", 0))
        pad = tuple(one for one, _ in around)
        return sym.Pooling(node[0], pool_type=kind, pad=pad, pooling_convention=convention, name=node.name, **settings)

    return pool


def _global_pool(kind: str) -> Callable[[Node], Any]:
    return lambda node: sym.Pooling(
        node[0], pool_type=kind, global_pool=True, kernel=(1,) * (len(node.shapes[0]) - 2), name=node.name
    )


def _pad(node: Node) -> Any:
    mode = node.get("mode", "constant")
    pads = node.whole(1)
    rank = len(pads) // 2
    around = list(zip(pads[:rank], pads[rank:], strict=True))
    value = float(node.value(2).ravel()[0]) if node.has(2) else 0.0
    return _padded(node[0], node.shapes[0], around, value, mode)


def _recurrent(kind: str, gates: int, order: list[int]) -> Callable[[Node], Any]:
    """Make a recurrent layer.

    Args:
        kind: in MXNet.
        gates: how many there are.
        order: where each gate of MXNet's is among ONNX's.
    """

    def layer(node: Node) -> list[Any]:
        if node.get("activations") or node.get("clip") or node.get("layout") or node.has(4) or node.has(7):
            raise Unknown(f"{node.kind} with other activations, sequence lengths or peepholes")
        direction = node.get("direction", "forward")
        if direction == "reverse" or (kind == "gru" and not node.get("linear_before_reset")):
            raise Unknown(f"{node.kind} of this kind")
        weights, recurrent = node.value(1), node.value(2)
        directions, hidden = len(weights), node.get("hidden_size")
        biases = node.value(3) if node.has(3) else np.zeros((directions, 2 * gates * hidden))

        def ordered(rows: np.ndarray) -> np.ndarray:
            return rows.reshape(gates, hidden, -1)[order].ravel()

        parts = [ordered(one) for pair in zip(weights, recurrent, strict=True) for one in pair]
        parts += [ordered(one) for bias in biases for one in np.split(bias, 2)]
        nothing = np.zeros((directions, node.shapes[0][1], hidden))
        states = [
            node[index] if node.has(index) else node.parameter(f"{index}_state", nothing)
            for index in ((5, 6) if kind == "lstm" else (5,))
        ]
        made = sym.RNN(
            node[0],
            node.parameter("weight", np.concatenate(parts)),
            *states,
            mode=kind,
            state_size=hidden,
            num_layers=1,
            bidirectional=directions == 2,
            state_outputs=True,
            name=node.name,
        )
        steps, rows = node.shapes[0][:2]
        split = sym.reshape(made[0], shape=(steps, rows, directions, hidden))
        return [sym.transpose(split, axes=(0, 2, 1, 3)), *(made[index] for index in range(1, 1 + len(states)))]

    return layer


LAYERS: dict[str, Callable[[Node], Any]] = {
    "AveragePool": _pool("avg"),
    "Conv": _conv,
    "ConvTranspose": _deconv,
    "GRU": _recurrent("gru", 3, [1, 0, 2]),
    "Gemm": _gemm,
    "GlobalAveragePool": _global_pool("avg"),
    "GlobalMaxPool": _global_pool("max"),
    "LSTM": _recurrent("lstm", 4, [0, 2, 3, 1]),
    "MatMul": _matmul,
    "MaxPool": _pool("max"),
    "Pad": _pad,
}
