"""Ranges of activations from examples, on the float network: min-max or percentile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from torch import Tensor

from autoshrink.backends.cortex_m.convert.execute import run
from autoshrink.backends.cortex_m.convert.network import Network
from autoshrink.core import Refusal
from autoshrink.core.encoding import Calibration
from autoshrink.models.ranges import BATCH, Span, Watch, calibration_examples, find_ranges
from autoshrink.models.splits import Split

__all__ = ["calibrate", "feeds"]


def calibrate(network: Network, examples: Split, method: Calibration) -> dict[str, Span]:
    """Find the range of every activation.

    Raises:
        Refusal: there are no examples, a value is not finite, or the method is not known here.
    """
    if method not in ("minmax", "percentile"):
        raise Refusal(f"calibration by {method} is not there for microcontrollers: use minmax or percentile")
    chosen = calibration_examples(examples)

    def walk(watch: Watch) -> None:
        def show(name: str, tensor: Tensor) -> None:
            watch(name, tensor.numpy())

        for feed in feeds(network, chosen):
            run(network, feed, show)

    return find_ranges(walk, method)


def feeds(network: Network, examples: Split, size: int = BATCH) -> Iterator[Mapping[str, np.ndarray]]:
    """Walk through examples in batches, as inputs of a network in the file's order."""
    for batch in examples.batches(size):
        ports = zip(network.inputs.items(), batch.arrays(), strict=True)
        yield {name: port.to_file(array) for (name, port), array in ports}
