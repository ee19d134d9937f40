"""Ranges of a graph's activations, from calibration examples."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from autoshrink.core.encoding import Calibration
from autoshrink.models.onnx.export import feeds_of
from autoshrink.models.onnx.sessions import probe
from autoshrink.models.ranges import BATCH, Span, Watch, calibration_examples, find_ranges
from autoshrink.models.splits import Split

__all__ = ["calibrate"]


def calibrate(
    model: ir.Model, examples: Split, input_names: tuple[str, ...], values: Sequence[str], method: Calibration
) -> dict[str, Span]:
    """Find the range of each named value.

    Raises:
        Refusal: there are no examples, or a value is not finite.
    """
    if not values:
        return {}
    chosen = calibration_examples(examples)

    def walk(watch: Watch) -> None:
        for batch in probe(model, feeds_of(chosen, input_names, BATCH), values):
            for name, array in zip(values, batch, strict=True):
                watch(name, array)

    return find_ranges(walk, method)
