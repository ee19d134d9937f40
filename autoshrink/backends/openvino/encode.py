"""Number formats of an OpenVINO model, by NNCF, and what the runtime makes of them."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from autoshrink.core import Refusal
from autoshrink.models.exporting import first_line, quiet
from autoshrink.models.ranges import calibration_examples

if TYPE_CHECKING:
    from autoshrink.core import Encoding
    from autoshrink.models.splits import Split

__all__ = ["encode", "executed", "stored"]

_CUT = 5e-5
"""The share of values that the percentile method cuts off at each end."""
_ATTENTION = "ScaledDotProductAttention"
_ERRORS = (
    "InternalError",
    "InvalidGroupSizeError",
    "ParameterNotSupportedError",
    "UnsupportedModelError",
    "ValidationError",
)
_LAYERS = ("Convolution", "Deconvolution", "FullyConnected", "MatMul", "RNNSeq")
_STORED = {"i4": 4, "u4": 4, "i8": 8, "u8": 8}


def encode(made: Any, encoding: Encoding, calibration: Split) -> Any:
    """Encode a float model.

    Args:
        made: the float model; it is used up.
        encoding: the number formats.
        calibration: examples for static ranges.

    Raises:
        Refusal: nothing in the model can be encoded so.
    """
    import nncf

    with quiet(), _silent("nncf"):
        try:
            if encoding.scheme == "static":
                return _quantize(made, encoding, calibration_examples(calibration))
            return _compress(made, encoding)
        except (
            nncf.ParameterNotSupportedError,
            nncf.UnsupportedModelError,
            nncf.ValidationError,
            RuntimeError,
        ) as error:
            raise Refusal(f"NNCF can't encode the model as {encoding.describe()}: {first_line(error)}") from error


def _quantize(made: Any, encoding: Encoding, examples: Split) -> Any:
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, QuantizationParameters
    from nncf.quantization.range_estimator import (
        AggregatorType,
        RangeEstimatorParameters,
        StatisticsCollectorParameters,
        StatisticsType,
    )

    if encoding.calibration == "percentile":
        low = StatisticsCollectorParameters(StatisticsType.QUANTILE, AggregatorType.MEAN, quantile_outlier_prob=_CUT)
        high = low
    else:
        low = StatisticsCollectorParameters(StatisticsType.MIN, AggregatorType.MIN)
        high = StatisticsCollectorParameters(StatisticsType.MAX, AggregatorType.MAX)
    attention = any(operation.get_type_name() in (_ATTENTION, "Softmax") for operation in made.get_ops())
    advanced = AdvancedQuantizationParameters(
        activations_range_estimator_params=RangeEstimatorParameters(low, high),
        weights_quantization_params=QuantizationParameters(per_channel=encoding.granularity == "per_channel"),
        disable_bias_correction=False,
    )
    arrays = [list(one.arrays()) for one in examples.batches(1)]
    return nncf.quantize(
        made,
        nncf.Dataset(arrays),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(arrays),
        model_type=nncf.ModelType.TRANSFORMER if attention else None,
        advanced_parameters=advanced,
    )


def _compress(made: Any, encoding: Encoding) -> Any:
    import nncf

    if encoding.weight_bits == 8:
        return nncf.compress_weights(made, mode=nncf.CompressWeightsMode.INT8_SYM)
    return nncf.compress_weights(
        made,
        mode=nncf.CompressWeightsMode.INT4_SYM,
        group_size=encoding.block_size,
        ratio=1.0,
        all_layers=True,
        advanced_parameters=nncf.AdvancedCompressionParameters(
            group_size_fallback_mode=nncf.GroupSizeFallbackMode.ADJUST
        ),
    )


def executed(compiled: Any) -> tuple[dict[str, int], Counter[str]]:
    """Count what the runtime executes: operators by name, and layers that have weights by their arithmetic.

    Returns:
        The operators; and how many layers compute in ``integers`` and in ``float``.
    """
    operators: Counter[str] = Counter()
    layers: Counter[str] = Counter()
    for operation in compiled.get_runtime_model().get_ops():
        facts = operation.get_rt_info()
        kind = facts["layerType"].astype(str)
        operators[kind] += 1
        if kind in _LAYERS:
            kernel = facts["primitiveType"].astype(str).lower()
            layers["integers" if kernel.endswith("_i8") else "float"] += 1
    return dict(sorted(operators.items())), layers


def stored(made: Any) -> dict[int, int]:
    """Count the weights that are stored as integers, by their bits: NNCF leaves what can't be int4 in int8."""
    found: Counter[int] = Counter()
    for item in made.get_ops():
        kind = item.get_element_type().get_type_name() if item.get_type_name() == "Constant" else ""
        shape = tuple(item.get_output_shape(0)) if kind in _STORED else ()
        if len(shape) > 1 and math.prod(shape[1:]) > 1:  # not the zero points, one a channel
            found[_STORED[kind]] += 1
    return dict(sorted(found.items()))


@contextmanager
def _silent(name: str) -> Iterator[None]:
    log = logging.getLogger(name)
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)
