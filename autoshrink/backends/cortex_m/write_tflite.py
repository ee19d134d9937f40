"""Writes a graph as a ``.tflite`` file: the one that the oracle, the generator and Vela read, and that can be deployed.

The same graph gives the same bytes. Constants are aligned to 16 bytes, as an interpreter on a microcontroller expects.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from autoshrink.backends.cortex_m.graph import Graph, Op, Tensor
from autoshrink.core import BackendUnavailable, Refusal

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["schema", "without_int4", "write_tflite"]

_IDENTIFIER = b"TFL3"
_VERSION = 3
_ALIGNMENT = 16
_MOST_OLD_CODES = 127
"""Larger operator codes are only in the newer, wider field."""

_TYPES = {
    "int4": "INT4",
    "int8": "INT8",
    "uint8": "UINT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float32": "FLOAT32",
}
_ACTIVATIONS = {"none": "NONE", "relu": "RELU", "relu_n1_to_1": "RELU_N1_TO_1", "relu6": "RELU6"}
_WINDOW = {"padding": "padding", "stride_h": "strideH", "stride_w": "strideW", "activation": "fusedActivationFunction"}
_DILATION = {"dilation_h": "dilationHFactor", "dilation_w": "dilationWFactor"}
_FILTER = {"filter_h": "filterHeight", "filter_w": "filterWidth"}
_ACTIVATION = {"activation": "fusedActivationFunction"}
# Operator → the first version that has int8, the schema's type of its options, and their fields.
_OPTIONS: dict[str, tuple[int, str, dict[str, str]]] = {
    "ADD": (2, "AddOptions", _ACTIVATION),
    "AVERAGE_POOL_2D": (2, "Pool2DOptions", _WINDOW | _FILTER),
    "CONCATENATION": (2, "ConcatenationOptions", _ACTIVATION | {"axis": "axis"}),
    "CONV_2D": (3, "Conv2DOptions", _WINDOW | _DILATION),
    "DEPTHWISE_CONV_2D": (3, "DepthwiseConv2DOptions", _WINDOW | _DILATION | {"multiplier": "depthMultiplier"}),
    "DEQUANTIZE": (2, "DequantizeOptions", {}),
    "EXPAND_DIMS": (1, "ExpandDimsOptions", {}),
    "FULLY_CONNECTED": (4, "FullyConnectedOptions", _ACTIVATION | {"format": "weightsFormat"}),
    "HARD_SWISH": (1, "HardSwishOptions", {}),
    "LEAKY_RELU": (2, "LeakyReluOptions", {"alpha": "alpha"}),
    "LOGISTIC": (2, "", {}),
    "MAX_POOL_2D": (2, "Pool2DOptions", _WINDOW | _FILTER),
    "MEAN": (2, "ReducerOptions", {}),
    "MUL": (2, "MulOptions", _ACTIVATION),
    "PAD": (2, "PadOptions", {}),
    "PADV2": (2, "PadV2Options", {}),
    "QUANTIZE": (2, "QuantizeOptions", {}),
    "RELU": (2, "", {}),
    "RELU6": (2, "", {}),
    "RELU_N1_TO_1": (2, "", {}),
    "RESHAPE": (1, "ReshapeOptions", {}),
    "SOFTMAX": (2, "SoftmaxOptions", {"beta": "beta"}),
    "SQUEEZE": (2, "SqueezeOptions", {}),
    "SUB": (2, "SubOptions", _ACTIVATION),
    "TANH": (2, "", {}),
    "TRANSPOSE": (2, "TransposeOptions", {}),
}


def schema() -> ModuleType:
    """Import TFLite's schema objects.

    Raises:
        BackendUnavailable: tflite-micro is not installed.
    """
    try:
        from tflite_micro.tensorflow.lite.micro.python import schema_py_generated
    except ImportError:
        raise BackendUnavailable("the package tflite-micro is missing: pip install 'autoshrink[mcu]'") from None
    return schema_py_generated  # type: ignore[no-any-return]


def write_tflite(graph: Graph) -> bytes:
    """Write a graph as a ``.tflite`` file.

    Raises:
        BackendUnavailable: tflite-micro, whose schema is used, is not installed.
        Refusal: an operator is not known here.
    """
    import flatbuffers

    fb = schema()
    kinds = sorted({op.kind for op in graph.ops})
    for kind in kinds:
        if kind not in _OPTIONS:
            raise Refusal(f"the operator {kind} can't be written to a .tflite file here")
    model = fb.ModelT()
    model.version = _VERSION
    model.description = "autoshrink"
    model.operatorCodes = [_code(fb, kind) for kind in kinds]
    # Buffer 0 is the empty one of all activations.
    buffers = [_aligned(fb, b"")]
    tensors = []
    for tensor in graph.tensors:
        written = _tensor(fb, tensor)
        if tensor.data is not None:
            written.buffer = len(buffers)
            buffers.append(_aligned(fb, _content(tensor)))
        tensors.append(written)
    model.buffers = buffers
    subgraph = fb.SubGraphT()
    subgraph.name = "main"
    subgraph.tensors = tensors
    subgraph.inputs, subgraph.outputs = _int32(graph.inputs), _int32(graph.outputs)
    subgraph.operators = [_operator(fb, op, kinds, graph) for op in graph.ops]
    model.subgraphs = [subgraph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())


def without_int4(graph: Graph) -> Graph:
    """Store 4-bit weights as int8, for readers that don't know int4, such as Vela; the arithmetic stays the same."""
    tensors = (replace(tensor, dtype="int8") if tensor.dtype == "int4" else tensor for tensor in graph.tensors)
    return replace(graph, tensors=tuple(tensors))


def _code(fb: ModuleType, kind: str) -> Any:
    code = fb.OperatorCodeT()
    code.builtinCode = getattr(fb.BuiltinOperator, kind)
    code.deprecatedBuiltinCode = min(code.builtinCode, _MOST_OLD_CODES)
    code.version = _OPTIONS[kind][0]
    return code


def _tensor(fb: ModuleType, tensor: Tensor) -> Any:
    written = fb.TensorT()
    written.name = tensor.name
    written.shape = _int32(tensor.shape)
    written.type = getattr(fb.TensorType, _TYPES[tensor.dtype])
    written.buffer = 0
    written.hasRank = True
    if tensor.scales:
        quantization = fb.QuantizationParametersT()
        quantization.scale = np.array(tensor.scales, np.float32)
        quantization.zeroPoint = np.array(tensor.zero_points, np.int64)
        quantization.quantizedDimension = tensor.axis
        written.quantization = quantization
    return written


def _content(tensor: Tensor) -> bytes:
    assert tensor.data is not None
    if tensor.dtype != "int4":
        return np.ascontiguousarray(tensor.data).astype(tensor.dtype).tobytes()
    nibbles = tensor.data.reshape(-1).astype(np.int8).view(np.uint8) & 15
    nibbles = np.append(nibbles, np.zeros(len(nibbles) % 2, np.uint8))
    packed: np.ndarray = nibbles[0::2] | (nibbles[1::2] << 4)
    return packed.tobytes()


def _operator(fb: ModuleType, op: Op, kinds: list[str], graph: Graph) -> Any:
    written = fb.OperatorT()
    written.opcodeIndex = kinds.index(op.kind)
    written.inputs, written.outputs = _int32(op.inputs), _int32(op.outputs)
    _, name, fields = _OPTIONS[op.kind]
    if not name:
        return written
    options = getattr(fb, f"{name}T")()
    for option, field in fields.items():
        value = op.options[option]
        if option == "padding":
            value = getattr(fb.Padding, str(value).upper())
        elif option == "activation":
            value = getattr(fb.ActivationFunctionType, _ACTIVATIONS[str(value)])
        setattr(options, field, value)
    if op.kind == "MEAN":
        before, after = (graph.tensors[index].shape for index in (op.inputs[0], op.outputs[0]))
        options.keepDims = len(before) == len(after)
    elif op.kind == "RESHAPE":
        options.newShape = _int32(graph.tensors[op.outputs[0]].shape)
    written.builtinOptionsType = getattr(fb.BuiltinOptions, name)
    written.builtinOptions = options
    return written


def _aligned(fb: ModuleType, content: bytes) -> Any:
    """Make a buffer that is aligned, which the schema's own objects leave out."""

    class Aligned(fb.BufferT):  # type: ignore[misc, name-defined]
        def Pack(self, builder: Any) -> Any:
            if not content:
                return super().Pack(builder)
            builder.StartVector(1, len(content), _ALIGNMENT)
            builder.head -= len(content)
            builder.Bytes[builder.head : builder.head + len(content)] = content
            vector = builder.EndVector()
            fb.BufferStart(builder)
            fb.BufferAddData(builder, vector)
            return fb.BufferEnd(builder)

    return Aligned()


def _int32(values: tuple[int, ...]) -> np.ndarray:
    return np.array(values, np.int32)
