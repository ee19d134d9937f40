"""Rewrites of the float network that leave what it computes as it is: constants folded, activations fused."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import replace

import numpy as np

from autoshrink.backends.cortex_m.convert.network import Activation, Kind, Network, Node, Window

__all__ = ["fold", "widen"]

_LINEAR = ("conv", "depthwise", "fully_connected")
_FUSING = (*_LINEAR, "affine", "add", "mul")
_CLIPS: dict[str, Activation] = {"relu": "relu", "relu6": "relu6", "unit": "unit"}
_Merge = Callable[[Network, Node, Node], Node | None]


def fold(network: Network) -> None:
    """Fold what can be folded, until nothing changes.

    Batch normalization and other constants go into the convolution or the linear layer before them, padding into the
    window after it, activation functions that clip into the operator before them, also through a maximum pool.
    """
    network.sweep()
    while any(_pass(network, merge) for merge in (_fold_affine, _fold_reshape, _fold_pad, _fuse_clip)) or _swap(
        network
    ):
        pass
    network.nodes = [lowered for node in network.nodes for lowered in _lowered(network, node)]
    _drop_reshapes(network)


def widen(network: Network, kept: Collection[str] = ()) -> None:
    """Write linear layers as 1×1 convolutions, but those of modules that are kept in 8 bits.

    TFLite's own linear layer has one scale for all weights of 4 bits.
    """
    nodes: list[Node] = []
    for node in network.nodes:
        if node.kind != "fully_connected" or node.module in kept:
            nodes.append(node)
            continue
        assert node.weight is not None
        out, inner = node.weight.shape
        before, after = f"{node.output}/image", f"{node.output}/channels"
        network.shapes[before], network.shapes[after] = (1, 1, 1, inner), (1, 1, 1, out)
        kernel = node.weight.reshape(out, 1, 1, inner)
        nodes.append(Node("reshape", node.inputs, before, node.module))
        nodes.append(replace(node, kind="conv", inputs=(before,), output=after, window=Window((1, 1)), weight=kernel))
        nodes.append(Node("reshape", (after,), node.output, node.module))
    network.nodes = nodes
    _drop_reshapes(network)


def _drop_reshapes(network: Network) -> None:
    _shape_inputs(network)
    while _pass(network, _fold_reshape) or _skip(network):
        pass
    network.sweep()


def _pass(network: Network, merge: _Merge) -> bool:
    """Merge one pair of operators, of which the second alone reads the first's result."""
    uses, producers = network.uses(), network.producers()
    for node in network.nodes:
        first = producers.get(node.inputs[0]) if len(node.inputs) == 1 else None
        if first is None or uses[first.output] != 1:
            continue
        merged = merge(network, first, node)
        if merged is not None:
            network.nodes[network.nodes.index(first)] = merged
            network.nodes.remove(node)
            del network.shapes[first.output]
            return True
    return False


def _fold_affine(network: Network, first: Node, node: Node) -> Node | None:
    if node.kind != "affine" or first.activation != "none" or first.kind not in (*_LINEAR, "affine"):
        return None
    scale, shift = node.weight, node.bias
    assert scale is not None
    assert shift is not None
    assert first.bias is not None
    bias = first.bias * scale + shift
    if first.kind == "affine":
        assert first.weight is not None
        return replace(first, output=node.output, weight=first.weight * scale, bias=bias)
    assert first.gain is not None
    return replace(first, output=node.output, gain=first.gain * scale, bias=bias)


def _fold_pad(network: Network, first: Node, node: Node) -> Node | None:
    if first.kind != "pad" or node.kind not in ("conv", "depthwise", "pad"):
        return None
    if node.kind == "pad":
        both = tuple((a + c, b + d) for (a, b), (c, d) in zip(first.pads, node.pads, strict=True))
        return replace(node, inputs=first.inputs, pads=both)
    if len(first.pads) != 4 or any(first.pads[3]):
        return None
    assert node.window is not None
    (top, bottom), (left, right) = first.pads[1:3]
    pads = tuple(a + b for a, b in zip(node.window.pads, (top, bottom, left, right), strict=True))
    window = replace(node.window, pads=(pads[0], pads[1], pads[2], pads[3]))
    return replace(node, inputs=first.inputs, window=window)


def _fold_reshape(network: Network, first: Node, node: Node) -> Node | None:
    return replace(node, inputs=first.inputs) if first.kind == node.kind == "reshape" else None


def _shape_inputs(network: Network) -> None:
    """Give an input the shape that it is brought into at once."""
    uses = network.uses()
    for node in network.nodes:
        port = network.inputs.get(node.inputs[0])
        if node.kind == "reshape" and port is not None and uses[node.inputs[0]] == 1:
            shape = network.shapes[node.output]
            network.shapes[node.inputs[0]] = shape
            network.inputs[node.inputs[0]] = replace(port, shape=shape)


def _skip(network: Network) -> bool:
    """Drop a reshape to the shape that is there already."""
    for node in network.nodes:
        before = node.inputs[0]
        idle = node.kind == "reshape" and network.shapes[before] == network.shapes[node.output]
        if idle and node.output not in network.outputs:
            network.nodes.remove(node)
            network.nodes = [
                replace(other, inputs=tuple(before if name == node.output else name for name in other.inputs))
                for other in network.nodes
            ]
            return True
    return False


def _fuse_clip(network: Network, first: Node, node: Node) -> Node | None:
    if node.kind not in _CLIPS or first.kind not in _FUSING or first.activation != "none":
        return None
    return replace(first, output=node.output, activation=_CLIPS[node.kind])


def _swap(network: Network) -> bool:
    """Clip before a maximum pool instead of after it, where that can then be fused."""
    uses, producers = network.uses(), network.producers()
    for node in network.nodes:
        pool = producers.get(node.inputs[0]) if node.kind in _CLIPS else None
        if pool is None or pool.kind != "max_pool" or uses[pool.output] != 1:
            continue
        before = producers.get(pool.inputs[0])
        if before is None or uses[before.output] != 1 or before.kind not in _FUSING or before.activation != "none":
            continue
        network.nodes[network.nodes.index(pool)] = replace(pool, output=node.output)
        network.nodes[network.nodes.index(before)] = replace(before, activation=_CLIPS[node.kind])
        network.nodes.remove(node)
        del network.shapes[pool.output]
        return True
    return False


def _lowered(network: Network, node: Node) -> list[Node]:
    """Write an affine that stayed as an addition, a multiplication, or a 1×1 depthwise convolution."""
    if node.kind != "affine":
        return [node]
    assert node.weight is not None
    assert node.bias is not None
    if (node.weight == 1).all():
        return [_with_constant(network, node, "add", node.bias)]
    if not node.bias.any():
        return [_with_constant(network, node, "mul", node.weight)]
    *rows, channels = network.shapes[node.output]
    kernel = np.ones((1, 1, 1, channels))
    scaled = replace(node, kind="depthwise", window=Window((1, 1)), weight=kernel, gain=node.weight)
    if len(rows) == 3:
        return [scaled]
    before, after = f"{node.output}/image", f"{node.output}/scaled"
    network.shapes[before] = network.shapes[after] = (1, 1, math.prod(rows), channels)
    return [
        Node("reshape", node.inputs, before, node.module),
        replace(scaled, inputs=(before,), output=after),
        Node("reshape", (after,), node.output, node.module),
    ]


def _with_constant(network: Network, node: Node, kind: Kind, constant: np.ndarray) -> Node:
    name = f"{node.output}/constant"
    network.constants[name] = constant[:1] if (constant == constant[0]).all() else constant
    network.shapes[name] = network.constants[name].shape
    return replace(node, kind=kind, inputs=(*node.inputs, name), weight=None, bias=None)
