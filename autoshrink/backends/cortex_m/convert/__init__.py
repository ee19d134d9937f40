"""From a torch module to an int8 graph for microcontrollers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from autoshrink.backends.cortex_m.convert.calibrate import calibrate
from autoshrink.backends.cortex_m.convert.execute import run
from autoshrink.backends.cortex_m.convert.fold import fold, widen
from autoshrink.backends.cortex_m.convert.lower import lower
from autoshrink.backends.cortex_m.convert.network import Network
from autoshrink.backends.cortex_m.convert.ranges import learned_spans, requantize_fixed, scales
from autoshrink.backends.cortex_m.convert.trace import trace
from autoshrink.backends.cortex_m.encodings import refused
from autoshrink.backends.cortex_m.graph import Graph
from autoshrink.backends.cortex_m.ports import Port
from autoshrink.core import Encoding, Refusal
from autoshrink.models.splits import Split, forward

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Converted", "convert"]

_TOLERANCE = 1e-4
_CHECKED = 8
"""Examples that the float network is compared with torch on."""


@dataclass(frozen=True)
class Converted:
    """An int8 graph, how its inputs and output relate to torch's, and how near its float network is to torch."""

    graph: Graph
    inputs: tuple[Port, ...]
    output: Port
    difference: float


def convert(model: nn.Module, example: Split, encoding: Encoding, calibration: Split) -> Converted:
    """Quantize a module.

    Args:
        model: in eval mode, on the CPU, without parametrizations.
        example: one example.
        encoding: static, 8 or 4 bits.
        calibration: examples that give the ranges of activations.

    Raises:
        Refusal: the encoding or an operator has no int8 kernel, or the float network differs from torch.
    """
    reason = refused(encoding)
    if reason:
        raise Refusal(reason)
    network = trace(model, example)
    fold(network)
    missing = set(encoding.kept) - {node.module for node in network.nodes if node.weight is not None}
    if missing:
        raise Refusal(f"the network has no layer of its own for {', '.join(sorted(missing))}, to be kept in more bits")
    examples = calibration.rows(slice(0, _CHECKED)) if len(calibration) else example
    difference = _difference(network, model, examples)
    if encoding.weight_bits == 4 and encoding.granularity == "per_channel":
        widen(network, encoding.kept)
    requantize_fixed(network)
    spans = calibrate(network, calibration, encoding.calibration)
    graph = lower(network, scales(network, spans, learned_spans(network, encoding.ranges)), encoding)
    (output,) = network.outputs.values()
    return Converted(graph, tuple(network.inputs.values()), output, difference)


def _difference(network: Network, model: nn.Module, examples: Split) -> float:
    """Compare the float network with torch, relative to the largest output.

    Raises:
        Refusal: they differ.
    """
    with torch.no_grad():
        wanted = forward(model, examples).numpy()
    ports = zip(network.inputs.items(), examples.arrays(), strict=True)
    ((name, port),) = network.outputs.items()
    given = port.to_torch(run(network, {key: own.to_file(array) for (key, own), array in ports})[name])
    if given.shape != wanted.shape:
        raise Refusal(f"the converted network gives the shape {given.shape} where torch gives {wanted.shape}")
    if not np.isfinite(wanted).all():
        raise Refusal("the model gives infinities or NaN on a calibration example")
    difference = float(np.abs(given - wanted).max() / (1 + np.abs(wanted).max()))
    if not difference <= _TOLERANCE:
        raise Refusal(
            f"the converted network differs from torch by {difference:.2g} (relative to its largest output, at most "
            f"{_TOLERANCE:g} is allowed)"
        )
    return difference
