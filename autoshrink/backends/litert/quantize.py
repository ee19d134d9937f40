"""Number formats of a ``.tflite`` file, by Google's quantizer with ranges of our own.

The quantizer's own calibration is a moving average of extremes, which clips.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from autoshrink.backends.litert.run import interpreter, run
from autoshrink.core import Refusal
from autoshrink.models.exporting import quiet
from autoshrink.models.ranges import Watch, calibration_examples, find_ranges

if TYPE_CHECKING:
    from autoshrink.core import Encoding
    from autoshrink.models.splits import Split

__all__ = ["quantize"]


def quantize(content: bytes, encoding: Encoding, calibration: Split, *, integer_only: bool) -> bytes:
    """Encode a float file.

    Args:
        content: the file's.
        encoding: the number formats.
        calibration: examples for static ranges.
        integer_only: whether inputs and outputs become integers as well.

    Raises:
        Refusal: the quantizer can't encode it so.
    """
    from ai_edge_quantizer.quantizer import Quantizer

    quantizer = Quantizer(bytearray(content))
    _ask(quantizer, encoding, integer_only=integer_only)
    found = _ranges(content, calibration, encoding) if encoding.scheme == "static" else None
    try:
        with quiet():
            result = quantizer.quantize(found, enable_progress_bar=False, enable_progress_report=False)
    except (RuntimeError, ValueError) as error:
        raise Refusal(f"LiteRT's quantizer can't encode the model as {encoding.describe()}: {error}") from error
    return bytes(result.quantized_model)


def _ask(quantizer: Any, encoding: Encoding, *, integer_only: bool) -> None:
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.qtyping import (
        ComputePrecision,
        OpQuantizationConfig,
        QuantGranularity,
        TensorDataType,
        TensorQuantizationConfig,
        TFLOperationName,
    )

    everywhere, every = ".*", TFLOperationName.ALL_SUPPORTED
    granularity = QuantGranularity(f"{encoding.granularity.removeprefix('per_').upper()}WISE")
    if encoding.scheme == "float":
        half = TensorQuantizationConfig(num_bits=16, dtype=TensorDataType.FLOAT)
        stored = OpQuantizationConfig(
            weight_tensor_config=half, compute_precision=ComputePrecision.FLOAT, explicit_dequantize=True
        )
        quantizer.update_quantization_recipe(everywhere, every, stored, AlgorithmName.FLOAT_CASTING)
    elif encoding.scheme == "static":
        quantizer.add_static_config(everywhere, every, 8, encoding.weight_bits, granularity)
        if not integer_only:
            for port in (TFLOperationName.INPUT, TFLOperationName.OUTPUT):
                quantizer.update_quantization_recipe(everywhere, port, None, AlgorithmName.NO_QUANTIZE)
    elif encoding.scheme == "dynamic":
        quantizer.add_dynamic_config(everywhere, every, encoding.weight_bits, granularity)
    else:
        quantizer.add_weight_only_config(everywhere, every, encoding.weight_bits, granularity)


def _ranges(content: bytes, calibration: Split, encoding: Encoding) -> dict[str, dict[str, np.ndarray]]:
    """Find the range of every float tensor, by its name, as the quantizer wants them."""
    chosen = calibration_examples(calibration)
    opened = interpreter(content, keep=True)
    floats = [item for item in opened.get_tensor_details() if item["dtype"] == np.float32 and item["name"]]
    shapes = {item["name"]: (1,) * len(item["shape"]) for item in floats}
    known: dict[str, int] = {}
    run(opened, chosen.rows(slice(0, 1)))
    for item in floats:
        try:
            if opened.get_tensor(item["index"]).size:
                known[item["name"]] = item["index"]
        except ValueError:
            continue  # a buffer of a kernel's own: it has no values of its own

    def walk(watch: Watch) -> None:
        for one in chosen.batches(1):
            run(opened, one)
            for name, index in known.items():
                watch(name, opened.get_tensor(index))

    return {
        name: {"min": np.full(shapes[name], low, np.float32), "max": np.full(shapes[name], high, np.float32)}
        for name, (low, high) in find_ranges(walk, encoding.calibration).items()
    }
