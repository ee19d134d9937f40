"""Runs the float network with torch: what the deployed file would compute without quantization."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from autoshrink.backends.cortex_m.convert.network import Network, Node

__all__ = ["run"]


def run(
    network: Network, inputs: Mapping[str, np.ndarray], watch: Callable[[str, Tensor], None] | None = None
) -> dict[str, np.ndarray]:
    """Run examples through a float network.

    Args:
        network: the network.
        inputs: arrays in the file's order, shape (examples, …), by name.
        watch: is shown every activation with its name.

    Returns:
        The outputs in the file's order, shape (examples, …), by name.
    """
    known = {name: torch.from_numpy(array).float() for name, array in inputs.items()}
    uses = network.uses()
    with torch.inference_mode():
        for name, tensor in known.items():
            if watch:
                watch(name, tensor)
        for node in network.nodes:
            result = _step(network, node, known)
            known[node.output] = result
            if watch:
                watch(node.output, result)
            for name in set(node.inputs):
                uses[name] -= node.inputs.count(name)
                if not uses[name]:
                    known.pop(name, None)
    return {name: known[name].numpy() for name in network.outputs}


def _step(network: Network, node: Node, known: Mapping[str, Tensor]) -> Tensor:
    operands = [
        known[name] if name in known else torch.from_numpy(network.constants[name]).float() for name in node.inputs
    ]
    first = operands[0]
    count, shape = len(first), network.shapes[node.output]
    match node.kind:
        case "conv" | "depthwise":
            result = _convolution(node, first)
        case "fully_connected":
            weight, bias = _weights(node)
            result = functional.linear(first, weight, bias)
        case "affine":
            assert node.weight is not None
            assert node.bias is not None
            result = first * torch.from_numpy(node.weight).float() + torch.from_numpy(node.bias).float()
        case "add":
            result = operands[0] + operands[1]
        case "mul":
            result = operands[0] * operands[1]
        case "concat":
            result = torch.cat(operands, node.axis)
        case "pad":
            result = functional.pad(first, [size for pair in reversed(node.pads) for size in pair])
        case "reshape":
            result = first.reshape(count, *shape[1:])
        case "max_pool" | "average_pool":
            result = _pool(node, first)
        case "mean":
            result = first.mean((1, 2), keepdim=True)
        case "softmax":
            result = first.softmax(-1)
        case "hard_swish":
            result = functional.hardswish(first)
        case "sigmoid":
            result = first.sigmoid()
        case "tanh":
            result = first.tanh()
        case "requantize":
            result = first
        case "relu" | "relu6" | "unit":
            result = _clipped(first, node.kind)
    return _clipped(result, node.activation)


def _clipped(tensor: Tensor, activation: str) -> Tensor:
    limits = {"relu": (0.0, None), "relu6": (0.0, 6.0), "unit": (0.0, 1.0)}
    if activation == "none":
        return tensor
    low, high = limits[activation]
    return tensor.clamp(low, high)


def _weights(node: Node) -> tuple[Tensor, Tensor]:
    """Give the weights with their gain, and the bias."""
    assert node.weight is not None
    assert node.gain is not None
    assert node.bias is not None
    across = node.gain if node.kind == "depthwise" else node.gain.reshape(-1, *[1] * (node.weight.ndim - 1))
    return torch.from_numpy(node.weight * across).float(), torch.from_numpy(node.bias).float()


def _convolution(node: Node, images: Tensor) -> Tensor:
    assert node.window is not None
    weight, bias = _weights(node)
    top, bottom, left, right = node.window.pads
    padded = functional.pad(images.permute(0, 3, 1, 2), (left, right, top, bottom))
    groups = padded.shape[1] if node.kind == "depthwise" else 1
    weight = weight.permute(3, 0, 1, 2) if node.kind == "depthwise" else weight.permute(0, 3, 1, 2)
    result = functional.conv2d(padded, weight, bias, node.window.stride, 0, node.window.dilation, groups)
    return result.permute(0, 2, 3, 1)


def _pool(node: Node, images: Tensor) -> Tensor:
    assert node.window is not None
    top, bottom, left, right = node.window.pads
    image = images.permute(0, 3, 1, 2)
    if node.kind == "max_pool":
        padded = functional.pad(image, (left, right, top, bottom), value=-torch.inf)
        result = functional.max_pool2d(padded, node.window.kernel, node.window.stride)
    else:
        result = functional.avg_pool2d(image, node.window.kernel, node.window.stride)
    return result.permute(0, 2, 3, 1)
