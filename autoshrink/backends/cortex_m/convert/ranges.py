"""Which scale and zero point each activation of the network gets, under TFLite's rules.

References:
    TFLite's 8-bit quantization specification: int8, asymmetric for activations; some operators keep the scale of what
    they read, and some give a fixed one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from autoshrink.backends.cortex_m.convert.network import Network, Node
from autoshrink.models.ranges import Span

__all__ = ["LOWEST", "Scale", "learned_spans", "requantize_fixed", "scales"]

LOWEST, HIGHEST = -128, 127
_KEEPING = ("max_pool", "average_pool", "pad", "reshape")
_TINY = 1e-6


@dataclass(frozen=True)
class Scale:
    """real = scale · (integer − zero_point)."""

    scale: float
    zero_point: int

    @classmethod
    def of(cls, span: Span) -> Scale:
        """Cover a range, widened so that zero is exact."""
        low, high = min(span[0], 0.0), max(span[1], 0.0)
        step = max(float(np.float32((high - low) / (HIGHEST - LOWEST))), _TINY)
        return cls(step, int(np.clip(round(LOWEST - low / step), LOWEST, HIGHEST)))


_FIXED = {
    "sigmoid": Scale(1 / 256, LOWEST),
    "softmax": Scale(1 / 256, LOWEST),
    "tanh": Scale(1 / 128, 0),
    # Clips to 0…1 because int8 ends there; the step is the nearest float.
    "unit": Scale(float(np.float32(1 / 255)), LOWEST),
}


def learned_spans(network: Network, by_module: Mapping[str, Span]) -> dict[str, Span]:
    """Find the tensors whose ranges quantization-aware training learned, as inputs of modules."""
    weighted = [node for node in network.nodes if node.weight is not None]
    return {node.inputs[0]: by_module[node.module] for node in weighted if node.module in by_module}


def requantize_fixed(network: Network) -> None:
    """Put a requantization between an operator whose scale must be its own and a concatenation, which has one for all.

    Those are operators with a fixed scale, and a ReLU6 by itself, which clips because its int8 ends there.
    """
    sets = _Sets(network.shapes)
    for node in network.nodes:
        if node.kind in _KEEPING:
            sets.join(node.inputs[0], node.output)
    own = {sets.root(node.output) for node in network.nodes if node.kind == "relu6" or _fixed(node) is not None}
    nodes: list[Node] = []
    for node in network.nodes:
        inputs = list(node.inputs)
        for index, name in enumerate(inputs):
            if node.kind == "concat" and sets.root(name) in own:
                inputs[index] = f"{node.output}/input_{index}"
                network.shapes[inputs[index]] = network.shapes[name]
                nodes.append(Node("requantize", (name,), inputs[index], node.module))
        nodes.append(replace(node, inputs=tuple(inputs)))
    network.nodes = nodes


def scales(network: Network, spans: Mapping[str, Span], learned: Mapping[str, Span]) -> dict[str, Scale]:
    """Give every activation its scale.

    Args:
        network: after `requantize_fixed`.
        spans: the calibrated ranges.
        learned: ranges that replace calibrated ones.
    """
    sets = _Sets(spans)
    for node in network.nodes:
        if node.kind in _KEEPING:
            sets.join(node.inputs[0], node.output)
    united = sets.united(spans) | sets.united(learned)
    roots = {name: sets.root(name) for name in spans}
    for node in network.nodes:
        if node.kind == "concat":
            for name in node.inputs:
                sets.join(name, node.output)
    whole = sets.united({root: united[root] for root in set(roots.values())})
    found = {root: Scale.of(span) for root, span in whole.items()}
    for node in network.nodes:
        fixed = _fixed(node)
        if fixed is not None:
            found[sets.root(node.output)] = fixed
    return {name: found[sets.root(name)] for name in spans}


def _fixed(node: Node) -> Scale | None:
    return _FIXED.get("unit" if node.activation == "unit" else node.kind)


class _Sets:
    """Tensors that must have one scale, as disjoint sets."""

    def __init__(self, names: Mapping[str, object]) -> None:
        self._above = {name: name for name in names}

    def root(self, name: str) -> str:
        while self._above[name] != name:
            name = self._above[name]
        return name

    def join(self, one: str, other: str) -> None:
        self._above[self.root(one)] = self.root(other)

    def united(self, spans: Mapping[str, Span]) -> dict[str, Span]:
        """Unite the ranges in each set, by its root."""
        found: dict[str, Span] = {}
        for name, (low, high) in spans.items():
            known = found.get(self.root(name), (low, high))
            found[self.root(name)] = (min(known[0], low), max(known[1], high))
        return found
