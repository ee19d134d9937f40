"""From the float network with scales to TFLite's operators in int8."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from autoshrink.backends.cortex_m.convert.network import Network, Node, Window
from autoshrink.backends.cortex_m.convert.ranges import LOWEST, Scale
from autoshrink.backends.cortex_m.convert.weights import Weights, quantize_weights
from autoshrink.backends.cortex_m.graph import DType, Graph, Op, Option, Tensor
from autoshrink.core import Encoding, Refusal

__all__ = ["lower"]

# What clips to 0…1 does so because its result's int8 ends there.
_FUSED: dict[str, Option] = {"none": "none", "relu": "relu", "relu6": "relu6", "unit": "none"}
_PLAIN = {
    "relu": "RELU",
    # Its result has no more than 6, where its int8 ends; TFLite Micro's own RELU6 does not change the scale.
    "relu6": "RELU",
    "unit": "QUANTIZE",
    "requantize": "QUANTIZE",
    "hard_swish": "HARD_SWISH",
    "sigmoid": "LOGISTIC",
    "tanh": "TANH",
}
_MOST_DIMS = 4
_CONSTANT_LIMIT = 127


def lower(network: Network, scales: Mapping[str, Scale], encoding: Encoding) -> Graph:
    """Write a network as an int8 graph.

    Raises:
        Refusal: a tensor has more dimensions than TFLite's kernels broadcast.
    """
    return _Lowering(network, scales, encoding).graph()


class _Lowering:
    def __init__(self, network: Network, scales: Mapping[str, Scale], encoding: Encoding) -> None:
        self.network = network
        self.scales = scales
        self.encoding = encoding
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[tuple[str, tuple[str, ...], str, Mapping[str, Option]]] = []

    def graph(self) -> Graph:
        for name in self.network.inputs:
            self._activation(name)
        for node in self.network.nodes:
            self._activation(node.output)
            self._node(node)
        index = {name: number for number, name in enumerate(self.tensors)}
        ops = tuple(
            Op(kind, tuple(index[name] for name in inputs), (index[output],), options)
            for kind, inputs, output, options in self.ops
        )
        inputs = tuple(index[name] for name in self.network.inputs)
        outputs = tuple(index[name] for name in self.network.outputs)
        return Graph(tuple(self.tensors.values()), ops, inputs, outputs)

    def _node(self, node: Node) -> None:
        match node.kind:
            case "conv" | "depthwise":
                self._convolution(node)
            case "fully_connected":
                self._fully_connected(node)
            case "add" | "mul":
                self._arithmetic(node)
            case "max_pool" | "average_pool":
                self._pool(node)
            case "mean":
                axes = self._integers(f"{node.output}/axes", [1, 2])
                self._operator("MEAN", [node.inputs[0], axes], node.output)
            case "concat":
                self._operator("CONCATENATION", node.inputs, node.output, axis=node.axis, activation="none")
            case "pad":
                self._pad(node.inputs[0], node.output, node.pads)
            case "reshape":
                self._reshape(node.inputs[0], node.output)
            case "softmax":
                self._operator("SOFTMAX", node.inputs, node.output, beta=1.0)
            case _:
                self._operator(_PLAIN[node.kind], node.inputs, node.output)

    def _convolution(self, node: Node) -> None:
        assert node.window is not None
        source, padding = self._padded(node, node.window)
        weights = quantize_weights(node, self.encoding, self.scales[node.inputs[0]].scale)
        options = {
            **_strides(node.window, padding),
            "dilation_h": node.window.dilation[0],
            "dilation_w": node.window.dilation[1],
            "activation": _FUSED[node.activation],
        }
        depthwise = node.kind == "depthwise"
        if depthwise:
            options["multiplier"] = weights.values.shape[3] // self.tensors[source].shape[3]
        operands = [source, *self._weights(node, weights, axis=3 if depthwise else 0)]
        self._operator("DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", operands, node.output, **options)

    def _fully_connected(self, node: Node) -> None:
        weights = quantize_weights(node, self.encoding, self.scales[node.inputs[0]].scale)
        if (weights.scales == weights.scales[0]).all():
            weights = replace(weights, scales=weights.scales[:1])
        operands = [node.inputs[0], *self._weights(node, weights, axis=0)]
        self._operator("FULLY_CONNECTED", operands, node.output, activation=_FUSED[node.activation], format=0)

    def _arithmetic(self, node: Node) -> None:
        if any(len(self.network.shapes[name]) > _MOST_DIMS for name in (*node.inputs, node.output)):
            raise Refusal(f"{node.kind} in module {node.module!r} works on more dimensions than int8 kernels broadcast")
        for name in node.inputs:
            if name in self.network.constants and name not in self.tensors:
                array = self.network.constants[name]
                scale = Scale(float(np.float32(np.abs(array).max() / _CONSTANT_LIMIT)) or 1.0, 0)
                data = np.rint(array / scale.scale).clip(-_CONSTANT_LIMIT, _CONSTANT_LIMIT).astype(np.int8)
                self.tensors[name] = Tensor(name, data.shape, "int8", (scale.scale,), (0,), data=data)
        kind = "ADD" if node.kind == "add" else "MUL"
        self._operator(kind, node.inputs, node.output, activation=_FUSED[node.activation])

    def _pool(self, node: Node) -> None:
        assert node.window is not None
        source, padding = self._padded(node, node.window)
        options = _strides(node.window, padding)
        kind = "MAX_POOL_2D" if node.kind == "max_pool" else "AVERAGE_POOL_2D"
        size = {"filter_h": node.window.kernel[0], "filter_w": node.window.kernel[1]}
        self._operator(kind, [source], node.output, **options, **size, activation="none")

    def _padded(self, node: Node, window: Window) -> tuple[str, str]:
        """Give a window's padding as TFLite's ``same`` or ``valid``, after an operator that pads where neither fits."""
        name = node.inputs[0]
        sizes, results = self.network.shapes[name][1:3], self.network.shapes[node.output][1:3]
        befores, afters, same = [], [], []
        for axis in (0, 1):
            size, count, stride, extent = sizes[axis], results[axis], window.stride[axis], window.extent[axis]
            before = window.pads[2 * axis]
            reach = (count - 1) * stride + extent
            befores.append(before)
            afters.append(max(reach - before - size, 0))
            same.append(count == -(-size // stride) and before == max(reach - size, 0) // 2)
        if not any(befores + afters):
            return name, "valid"
        if all(same):
            return name, "same"
        channels = self.network.shapes[name][3]
        padded = f"{node.output}/padded"
        shape = (1, *(b + s + a for b, s, a in zip(befores, sizes, afters, strict=True)), channels)
        self._activation(padded, like=name, shape=shape)
        amounts = ((0, 0), (befores[0], afters[0]), (befores[1], afters[1]), (0, 0))
        self._pad(name, padded, amounts, lowest=node.kind == "max_pool")
        return padded, "valid"

    def _pad(self, source: str, output: str, pads: tuple[tuple[int, int], ...], *, lowest: bool = False) -> None:
        amounts = self._integers(f"{output}/pads", np.array(pads))
        scale = self.scales.get(source)
        if lowest and (scale is None or scale.zero_point != LOWEST):
            # Nothing that a maximum is taken of is below the smallest integer.
            tensor = self.tensors[source]
            name, data = f"{output}/lowest", np.array([LOWEST], np.int8)
            self.tensors[name] = Tensor(name, (1,), "int8", tensor.scales, tensor.zero_points, data=data)
            self._operator("PADV2", [source, amounts, name], output)
        else:
            self._operator("PAD", [source, amounts], output)

    def _reshape(self, source: str, output: str) -> None:
        shape = self.tensors[output].shape
        self._operator("RESHAPE", [source, self._integers(f"{output}/shape", shape)], output)

    def _weights(self, node: Node, weights: Weights, axis: int) -> list[str]:
        """Declare weights and biases, and give their names."""
        kind: DType = "int4" if weights.bits == 4 else "int8"
        zeros = (0,) * len(weights.scales)
        name, bias = f"{node.output}/weight", f"{node.output}/bias"
        steps = tuple(float(step) for step in weights.scales)
        units = tuple(float(np.float32(self.scales[node.inputs[0]].scale * step)) for step in steps)
        self.tensors[name] = Tensor(name, weights.values.shape, kind, steps, zeros, axis, weights.values)
        self.tensors[bias] = Tensor(bias, weights.bias.shape, "int32", units, zeros, data=weights.bias)
        return [name, bias]

    def _integers(self, name: str, values: Any) -> str:
        data = np.asarray(values, np.int32)
        self.tensors[name] = Tensor(name, data.shape, "int32", data=data)
        return name

    def _activation(self, name: str, like: str | None = None, shape: tuple[int, ...] | None = None) -> None:
        scale = self.scales[like or name]
        dims = shape or self.network.shapes[name]
        self.tensors[name] = Tensor(name, dims, "int8", (scale.scale,), (scale.zero_point,))

    def _operator(self, kind: str, inputs: Any, output: str, **options: Any) -> None:
        self.ops.append((kind, tuple(inputs), output, options))


def _strides(window: Window, padding: str) -> dict[str, Any]:
    return {"padding": padding, "stride_h": window.stride[0], "stride_w": window.stride[1]}
