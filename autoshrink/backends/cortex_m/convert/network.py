"""The float network between torch and the int8 graph: channels last, one example, operators near to TFLite's."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from autoshrink.backends.cortex_m.ports import Port

__all__ = ["Activation", "Kind", "Network", "Node", "Window"]

Activation = Literal["none", "relu", "relu6", "unit"]
"""``unit`` clips to 0…1, as a hard sigmoid does at its end."""
Kind = Literal[
    "affine", "conv", "depthwise", "fully_connected", "add", "mul", "concat", "pad", "reshape", "max_pool",
    "average_pool", "mean", "relu", "relu6", "unit", "requantize", "hard_swish", "sigmoid", "tanh", "softmax",
]  # fmt: skip


@dataclass(frozen=True)
class Window:
    """What slides over height and width."""

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Top, bottom, left, right."""

    @property
    def extent(self) -> tuple[int, int]:
        """Height and width that one position sees, with its holes."""
        (kh, kw), (dh, dw) = self.kernel, self.dilation
        return (kh - 1) * dh + 1, (kw - 1) * dw + 1

    def positions(self, height: int, width: int) -> tuple[int, int]:
        """Count the places of the window on an image."""
        (eh, ew), (top, bottom, left, right) = self.extent, self.pads
        return (height + top + bottom - eh) // self.stride[0] + 1, (width + left + right - ew) // self.stride[1] + 1


@dataclass(frozen=True)
class Node:
    """One operator.

    Shapes of ``weight``: conv (out, kh, kw, in), depthwise (1, kh, kw, out), fully_connected (out, in), affine (out,).
    ``gain`` (out,) multiplies the weights of each output channel; it is what was folded into them, kept apart so that
    weights that share few values still do. ``pads`` of a pad are (before, after) for each dimension.
    """

    kind: Kind
    inputs: tuple[str, ...]
    output: str
    module: str = ""
    window: Window | None = None
    weight: np.ndarray | None = None
    gain: np.ndarray | None = None
    bias: np.ndarray | None = None
    activation: Activation = "none"
    axis: int = 0
    pads: tuple[tuple[int, int], ...] = ()


@dataclass
class Network:
    """Operators in the order of execution; every tensor has a shape (1, …)."""

    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    inputs: dict[str, Port] = field(default_factory=dict)
    outputs: dict[str, Port] = field(default_factory=dict)
    constants: dict[str, np.ndarray] = field(default_factory=dict)

    def uses(self) -> Counter[str]:
        """Count how often each tensor is read; being an output of the network is a use."""
        return Counter([name for node in self.nodes for name in node.inputs] + list(self.outputs))

    def producers(self) -> dict[str, Node]:
        """Find the operator that makes each tensor."""
        return {node.output: node for node in self.nodes}

    def sweep(self) -> None:
        """Drop operators whose result nobody reads."""
        wanted = set(self.outputs)
        kept = []
        for node in reversed(self.nodes):
            if node.output in wanted:
                wanted.update(node.inputs)
                kept.append(node)
        self.nodes = kept[::-1]
        wanted.update(self.inputs)
        self.shapes = {name: shape for name, shape in self.shapes.items() if name in wanted}
        self.constants = {name: array for name, array in self.constants.items() if name in wanted}
