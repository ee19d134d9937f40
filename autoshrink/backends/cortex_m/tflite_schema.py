"""What the reader needs of TFLite's schema: numbers of types and operators, and the fields of their options."""

from __future__ import annotations

from collections.abc import Mapping

from autoshrink.backends.cortex_m.flatbuffer import Table
from autoshrink.backends.cortex_m.graph import Activation, DType, Option

__all__ = ["OPERATORS", "TYPES", "options"]

TYPES: dict[int, DType] = {0: "float32", 2: "int32", 3: "uint8", 4: "int64", 7: "int16", 9: "int8", 17: "int4"}

_ACTIVATIONS: dict[Option, Activation] = {0: "none", 1: "relu", 2: "relu_n1_to_1", 3: "relu6"}

OPERATORS = {
    0: "ADD", 1: "AVERAGE_POOL_2D", 2: "CONCATENATION", 3: "CONV_2D", 4: "DEPTHWISE_CONV_2D", 5: "DEPTH_TO_SPACE",
    6: "DEQUANTIZE", 7: "EMBEDDING_LOOKUP", 8: "FLOOR", 9: "FULLY_CONNECTED", 11: "L2_NORMALIZATION", 14: "LOGISTIC",
    16: "LSTM", 17: "MAX_POOL_2D", 18: "MUL", 19: "RELU", 20: "RELU_N1_TO_1", 21: "RELU6", 22: "RESHAPE",
    23: "RESIZE_BILINEAR", 24: "RNN", 25: "SOFTMAX", 26: "SPACE_TO_DEPTH", 27: "SVDF", 28: "TANH", 32: "CUSTOM",
    34: "PAD", 35: "UNIDIRECTIONAL_SEQUENCE_RNN", 36: "GATHER", 37: "BATCH_TO_SPACE_ND", 38: "SPACE_TO_BATCH_ND",
    39: "TRANSPOSE", 40: "MEAN", 41: "SUB", 42: "DIV", 43: "SQUEEZE", 44: "UNIDIRECTIONAL_SEQUENCE_LSTM",
    45: "STRIDED_SLICE", 47: "EXP", 49: "SPLIT", 50: "LOG_SOFTMAX", 53: "CAST", 54: "PRELU", 55: "MAXIMUM",
    56: "ARG_MAX", 57: "MINIMUM", 59: "NEG", 60: "PADV2", 65: "SLICE", 67: "TRANSPOSE_CONV", 70: "EXPAND_DIMS",
    74: "SUM", 75: "SQRT", 76: "RSQRT", 77: "SHAPE", 82: "REDUCE_MAX", 83: "PACK", 88: "UNPACK", 92: "SQUARE",
    97: "RESIZE_NEAREST_NEIGHBOR", 98: "LEAKY_RELU", 99: "SQUARED_DIFFERENCE", 100: "MIRROR_PAD", 101: "ABS",
    102: "SPLIT_V", 111: "ELU", 114: "QUANTIZE", 117: "HARD_SWISH", 118: "IF", 119: "WHILE", 126: "BATCH_MATMUL",
    129: "CALL_ONCE", 142: "VAR_HANDLE", 150: "GELU",
}  # fmt: skip

# Name → field number, `struct` code, default. Operators without options of interest have an empty entry.
_FIELDS: dict[str, dict[str, tuple[int, str, int | float]]] = {
    "CONV_2D": {
        "padding": (0, "b", 0), "stride_w": (1, "i", 0), "stride_h": (2, "i", 0), "activation": (3, "b", 0),
        "dilation_w": (4, "i", 1), "dilation_h": (5, "i", 1),
    },
    "DEPTHWISE_CONV_2D": {
        "padding": (0, "b", 0), "stride_w": (1, "i", 0), "stride_h": (2, "i", 0), "multiplier": (3, "i", 0),
        "activation": (4, "b", 0), "dilation_w": (5, "i", 1), "dilation_h": (6, "i", 1),
    },
    "AVERAGE_POOL_2D": {
        "padding": (0, "b", 0), "stride_w": (1, "i", 0), "stride_h": (2, "i", 0), "filter_w": (3, "i", 0),
        "filter_h": (4, "i", 0), "activation": (5, "b", 0),
    },
    "FULLY_CONNECTED": {"activation": (0, "b", 0), "format": (1, "b", 0)},
    "SOFTMAX": {"beta": (0, "f", 0.0)},
    "CONCATENATION": {"axis": (0, "i", 0), "activation": (1, "b", 0)},
    "ADD": {"activation": (0, "b", 0)},
    "SUB": {"activation": (0, "b", 0)},
    "MUL": {"activation": (0, "b", 0)},
    "LEAKY_RELU": {"alpha": (0, "f", 0.0)},
}  # fmt: skip
_FIELDS["MAX_POOL_2D"] = _FIELDS["AVERAGE_POOL_2D"]
_PLAIN = (
    "DEQUANTIZE", "EXPAND_DIMS", "HARD_SWISH", "LOGISTIC", "MEAN", "PAD", "PADV2", "QUANTIZE", "RELU", "RELU6",
    "RELU_N1_TO_1", "RESHAPE", "SQUEEZE", "TANH", "TRANSPOSE",
)  # fmt: skip


def options(kind: str, table: Table | None) -> Mapping[str, Option] | None:
    """Read the options of an operator; nothing for one that has no kernel. An activation may be ``unknown``."""
    if kind in _PLAIN:
        return {}
    fields = _FIELDS.get(kind)
    if fields is None:
        return None
    read: dict[str, Option] = {
        name: default if table is None else table.scalar(number, code, default)
        for name, (number, code, default) in fields.items()
    }
    if "padding" in read:
        read["padding"] = "same" if read["padding"] == 0 else "valid"
    if "activation" in read:
        read["activation"] = _ACTIVATIONS.get(read["activation"], "unknown")
    return read
