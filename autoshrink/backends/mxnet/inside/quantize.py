"""Static int8 by MXNet's own quantizer: oneDNN's fused operators, ranges by the extremes of examples."""

from __future__ import annotations

from collections import Counter

import mxnet as mx
import numpy as np
from mxnet.contrib.quantization import quantize_model_mkldnn

from .graph import Unknown
from .model import Model

__all__ = ["layers", "quantize"]

_LAYERS = ("Convolution", "Deconvolution", "FullyConnected", "RNN")
_FUSED = ("_sg_mkldnn_conv", "_sg_mkldnn_fully_connected")
# The quantizer takes these as well, and the runtime then fails: on what is no LSTM, and on unsigned factors.
_LEFT = ["RNN", "elemwise_mul", "broadcast_mul"]


def quantize(model: Model, examples: dict[str, np.ndarray], granularity: str) -> Model:
    """Quantize a float model.

    Args:
        model: with float parameters.
        examples: inputs by name.
        granularity: of the weights: per_channel or per_tensor.

    Raises:
        Unknown: an activation is not finite.
    """
    lines = [node["name"] for node in model.nodes() if node["op"] == "Convolution" and _one_dimensional(node)]
    try:
        symbol, parameters, _ = quantize_model_mkldnn(
            model.symbol,
            model.parameters,
            {},
            data_names=model.inputs,
            label_names=None,
            excluded_op_names=_LEFT,
            excluded_sym_names=lines,
            calib_mode="naive",
            calib_data=mx.io.NDArrayIter(examples, batch_size=1),
            quantized_dtype="auto",
            quantize_mode="smart",
            quantize_granularity="channel-wise" if granularity == "per_channel" else "tensor-wise",
        )
    except mx.MXNetError as error:
        if "calib_range expect float" in str(error):
            raise Unknown("static int8: an activation is infinite or NaN on a calibration example") from None
        raise
    return Model(symbol, parameters, model.inputs)


def layers(model: Model) -> Counter[str]:
    """Count the operators that have weights by what they compute in: integers or float."""
    counts: Counter[str] = Counter(integers=0, float=0)
    for node in model.nodes():
        quantized = node.get("attrs", {}).get("quantized") in ("true", "True")
        if node["op"] in _LAYERS or node["op"] in _FUSED:
            counts["integers" if quantized else "float"] += 1
    return counts


def _one_dimensional(node: dict[str, dict[str, str]]) -> bool:
    return len([part for part in node["attrs"]["kernel"].strip("()").split(",") if part]) == 1
