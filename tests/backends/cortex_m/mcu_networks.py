"""Random integer networks as .tflite files, written through tflite-micro's schema objects, and its answers to them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import flatbuffers
import numpy as np
from tflite_micro.python.tflite_micro import runtime
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as fb

ACTIVATIONS = {"none": 0, "relu": 1, "relu_n1_to_1": 2, "relu6": 3}
TYPES = {np.dtype(np.int8): fb.TensorType.INT8, np.dtype(np.int32): fb.TensorType.INT32}


@dataclass(frozen=True)
class Node:
    """An activation under construction."""

    index: int
    shape: tuple[int, ...]
    scale: float
    zero_point: int


class Networks:
    """Builds one network; every draw comes from one generator.

    A calibrated one gives each weighted layer an output scale at which random inputs use much of the int8 range.
    """

    def __init__(self, seed: int = 0, calibrated: bool = False) -> None:
        self.rng = np.random.default_rng(seed)
        self.calibrated = calibrated
        self.graph = fb.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.model = fb.ModelT()
        self.model.version = 3
        self.model.operatorCodes, self.model.buffers = [], [fb.BufferT()]
        self.codes: dict[int, int] = {}

    # -- tensors

    def tensor(self, shape, dtype=fb.TensorType.INT8, scales=(), zero_points=(), data=None, axis=0):
        tensor = fb.TensorT()
        tensor.shape, tensor.type, tensor.name = list(shape), dtype, f"t{len(self.graph.tensors)}"
        if len(scales):
            quantization = fb.QuantizationParametersT()
            quantization.scale = np.asarray(scales, np.float32)
            quantization.zeroPoint = np.asarray(zero_points, np.int64)
            quantization.quantizedDimension = axis
            tensor.quantization = quantization
        tensor.buffer = 0
        if data is not None:
            buffer = fb.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            tensor.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def node(self, shape, scale=None, zero_point=None) -> Node:
        scale = float(np.float32(self.rng.uniform(0.01, 0.1) if scale is None else scale))
        zero_point = int(self.rng.integers(-128, 128) if zero_point is None else zero_point)
        return Node(self.tensor(shape, scales=[scale], zero_points=[zero_point]), tuple(shape), scale, zero_point)

    def ints(self, values) -> int:
        values = np.asarray(values, np.int32)
        return self.tensor(values.shape, fb.TensorType.INT32, data=values)

    def op(self, code, inputs, output, options=None, kind=0):
        if code not in self.codes:
            entry = fb.OperatorCodeT()
            entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, min(code, 127), 1
            self.model.operatorCodes.append(entry)
            self.codes[code] = len(self.codes)
        operator = fb.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = self.codes[code], list(inputs), [output]
        operator.builtinOptions, operator.builtinOptionsType = options, kind
        self.graph.operators.append(operator)

    # -- layers

    def input(self, shape, scale=None, zero_point=None) -> Node:
        node = self.node(shape, scale, zero_point)
        self.graph.inputs = [node.index]
        return node

    def weights(self, shape, axis, per_channel, bits, distinct, full, zeros=0.0):
        low, high = (-8, 7) if bits == 4 else (-128, 127) if full else (-127, 127)
        if distinct:
            book = self.rng.choice(np.arange(low, high + 1), size=min(distinct, high - low + 1), replace=False)
            data = self.rng.choice(book, size=shape).astype(np.int8)
        elif bits == 4 or full:
            data = self.rng.integers(low, high + 1, shape).astype(np.int8)
        else:
            data = np.clip(np.round(self.rng.normal(0, 40, shape)), low, high).astype(np.int8)
        data[self.rng.random(shape) < zeros] = 0
        channels = shape[axis] if per_channel else 1
        scales = np.exp(self.rng.uniform(-7, -5, channels)).astype(np.float32)
        stored = data
        if bits == 4:
            flat = np.append(data.reshape(-1), np.zeros(data.size % 2, np.int8)).view(np.uint8) & 15
            stored = flat[::2] | (flat[1::2] << 4)
        dtype = fb.TensorType.INT4 if bits == 4 else fb.TensorType.INT8
        return self.tensor(shape, dtype, scales, [0] * channels, stored, axis), data, scales

    def _linear(self, x, shape, axis, taps, per_channel, bits, bias, distinct, full, zeros=0.0):
        index, data, scales = self.weights(shape, axis, per_channel, bits, distinct, full, zeros)
        channels = shape[axis]
        inputs = [x.index, index]
        spread = math.sqrt(taps) * 74 * max(float(np.abs(data).mean()), 1.0)
        if bias:
            values = self.rng.normal(0, spread / 2, channels).astype(np.int32)
            bias_scales = np.float32(x.scale) * scales
            inputs.append(self.tensor([channels], fb.TensorType.INT32, bias_scales, [0] * len(scales), values))
        # An output scale at which the channels use the int8 range well, on the whole.
        scale = float(x.scale * np.median(scales) * spread / 50 * self.rng.uniform(0.5, 2))
        return inputs, scale

    def conv(self, x, channels, kernel=(3, 3), stride=(1, 1), padding="same", dilation=(1, 1), activation="none",
             per_channel=True, bits=8, bias=True, distinct=0, full=False, zero_point=None, scale=None,
             zeros=0.0) -> Node:  # fmt: skip
        shape = (channels, *kernel, x.shape[3])
        inputs, usual = self._linear(x, shape, 0, math.prod(shape[1:]), per_channel, bits, bias, distinct, full, zeros)
        out = self.node((1, *self.sizes(x, kernel, stride, padding, dilation), channels), scale or usual, zero_point)
        options = fb.Conv2DOptionsT()
        self._window(options, stride, padding, activation, dilation)
        self.op(fb.BuiltinOperator.CONV_2D, inputs, out.index, options, fb.BuiltinOptions.Conv2DOptions)
        return self.settled(out, zero_point is not None) if scale is None else out

    def depthwise(self, x, kernel=(3, 3), stride=(1, 1), padding="same", dilation=(1, 1), activation="none",
                  multiplier=1, per_channel=True, bias=True, distinct=0, zero_point=None,
                  scale=None) -> Node:  # fmt: skip
        channels = x.shape[3] * multiplier
        shape = (1, *kernel, channels)
        inputs, usual = self._linear(x, shape, 3, math.prod(kernel), per_channel, 8, bias, distinct, False)
        out = self.node((1, *self.sizes(x, kernel, stride, padding, dilation), channels), scale or usual, zero_point)
        options = fb.DepthwiseConv2DOptionsT()
        self._window(options, stride, padding, activation, dilation)
        options.depthMultiplier = multiplier
        code = fb.BuiltinOperator.DEPTHWISE_CONV_2D
        self.op(code, inputs, out.index, options, fb.BuiltinOptions.DepthwiseConv2DOptions)
        return self.settled(out, zero_point is not None) if scale is None else out

    def dense(self, x, channels, activation="none", per_channel=False, bits=8, bias=True, distinct=0, full=False,
              rows=1, zero_point=None, zeros=0.0) -> Node:  # fmt: skip
        taps = math.prod(x.shape) // rows
        shape = (channels, taps)
        inputs, scale = self._linear(x, shape, 0, taps, per_channel, bits, bias, distinct, full, zeros)
        out = self.node((rows, channels), scale, zero_point)
        options = fb.FullyConnectedOptionsT()
        options.fusedActivationFunction = ACTIVATIONS[activation]
        code = fb.BuiltinOperator.FULLY_CONNECTED
        self.op(code, inputs, out.index, options, fb.BuiltinOptions.FullyConnectedOptions)
        return self.settled(out, zero_point is not None)

    def settled(self, out, fixed) -> Node:
        """Give an output a scale, and a zero point unless that is fixed, that suit what random inputs make of it."""
        if not self.calibrated:
            return out
        size = math.prod(self.graph.tensors[self.graph.inputs[0]].shape)
        inputs = np.random.default_rng(0).integers(-128, 128, (8, size)).astype(np.int8)
        scale, zero_point = out.scale, out.zero_point
        for _ in range(6):
            made = interpret(self.finish(out), inputs).astype(float)
            real = (made - zero_point) * scale
            saturated = np.mean((made == 127) | (made == -128) & (zero_point > -128))
            between = real.std(axis=0).mean() / 20
            scale = max(between, scale * 1.5 if saturated > 0.2 else 0.0, scale / 10)
            zero_point = zero_point if fixed else int(np.clip(-real.mean() / scale, -100, 100))
            out = Node(out.index, out.shape, float(np.float32(scale)), zero_point)
            quantization = self.graph.tensors[out.index].quantization
            quantization.scale, quantization.zeroPoint = np.array([scale], np.float32), np.array([zero_point])
        return out

    def pool(self, x, kind, kernel=(2, 2), stride=(2, 2), padding="valid", activation="none") -> Node:
        out = self.node((1, *self.sizes(x, kernel, stride, padding, (1, 1)), x.shape[3]), x.scale, x.zero_point)
        options = fb.Pool2DOptionsT()
        self._window(options, stride, padding, activation, None)
        options.filterHeight, options.filterWidth = kernel
        code = fb.BuiltinOperator.AVERAGE_POOL_2D if kind == "average" else fb.BuiltinOperator.MAX_POOL_2D
        self.op(code, [x.index], out.index, options, fb.BuiltinOptions.Pool2DOptions)
        return out

    def binary(self, kind, a, b, activation="none", scale=None, zero_point=None) -> Node:
        shape = np.broadcast_shapes(a.shape, b.shape)
        if scale is None:
            scale = 128 * a.scale * b.scale / 2 if kind == "mul" else a.scale + b.scale
        out = self.node(shape, scale, zero_point)
        options = {"add": fb.AddOptionsT, "sub": fb.SubOptionsT, "mul": fb.MulOptionsT}[kind]()
        options.fusedActivationFunction = ACTIVATIONS[activation]
        code = getattr(fb.BuiltinOperator, kind.upper())
        self.op(code, [a.index, b.index], out.index, options, getattr(fb.BuiltinOptions, f"{kind.title()}Options"))
        return out

    def constant(self, shape) -> Node:
        data = self.rng.integers(-128, 128, shape).astype(np.int8)
        scale, zero_point = float(np.float32(self.rng.uniform(0.01, 0.1))), int(self.rng.integers(-128, 128))
        return Node(self.tensor(shape, scales=[scale], zero_points=[zero_point], data=data), shape, scale, zero_point)

    def unary(self, kind, x, **settings) -> Node:
        fixed = {"logistic": (1 / 256, -128), "tanh": (1 / 128, 0), "softmax": (1 / 256, -128)}
        scale, zero_point = fixed.get(kind, (settings.get("scale"), settings.get("zero_point")))
        out = self.node(x.shape, scale or x.scale * self.rng.uniform(0.4, 1), zero_point)
        options, number = None, 0
        if kind == "softmax":
            options, number = fb.SoftmaxOptionsT(), fb.BuiltinOptions.SoftmaxOptions
            options.beta = settings.get("beta", 1.0)
        if kind == "leaky_relu":
            options, number = fb.LeakyReluOptionsT(), fb.BuiltinOptions.LeakyReluOptions
            options.alpha = settings.get("alpha", 0.1)
        self.op(getattr(fb.BuiltinOperator, kind.upper()), [x.index], out.index, options, number)
        return out

    def concat(self, nodes, axis) -> Node:
        shape = list(nodes[0].shape)
        shape[axis] = sum(node.shape[axis] for node in nodes)
        out = self.node(shape, nodes[0].scale, nodes[0].zero_point)
        options = fb.ConcatenationOptionsT()
        options.axis = axis
        inputs = [node.index for node in nodes]
        self.op(fb.BuiltinOperator.CONCATENATION, inputs, out.index, options, fb.BuiltinOptions.ConcatenationOptions)
        return out

    def pad(self, x, paddings) -> Node:
        shape = [size + before + after for size, (before, after) in zip(x.shape, paddings, strict=True)]
        out = self.node(shape, x.scale, x.zero_point)
        inputs = [x.index, self.ints(paddings)]
        self.op(fb.BuiltinOperator.PAD, inputs, out.index, fb.PadOptionsT(), fb.BuiltinOptions.PadOptions)
        return out

    def reshape(self, x, shape) -> Node:
        out = self.node(shape, x.scale, x.zero_point)
        options = fb.ReshapeOptionsT()
        options.newShape = list(shape)
        inputs = [x.index, self.ints(shape)]
        self.op(fb.BuiltinOperator.RESHAPE, inputs, out.index, options, fb.BuiltinOptions.ReshapeOptions)
        return out

    def transpose(self, x, order) -> Node:
        out = self.node([x.shape[axis] for axis in order], x.scale, x.zero_point)
        options = fb.TransposeOptionsT()
        inputs = [x.index, self.ints(order)]
        self.op(fb.BuiltinOperator.TRANSPOSE, inputs, out.index, options, fb.BuiltinOptions.TransposeOptions)
        return out

    def mean(self, x, axes, keep=True) -> Node:
        shape = [1 if i in axes else size for i, size in enumerate(x.shape) if keep or i not in axes]
        out = self.node(shape, x.scale * self.rng.uniform(0.3, 1))
        options = fb.ReducerOptionsT()
        options.keepDims = keep
        inputs = [x.index, self.ints(axes)]
        self.op(fb.BuiltinOperator.MEAN, inputs, out.index, options, fb.BuiltinOptions.ReducerOptions)
        return out

    # -- the file

    def finish(self, *outputs) -> bytes:
        self.graph.outputs = [node.index for node in outputs]
        self.model.subgraphs = [self.graph]
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    @staticmethod
    def sizes(x, kernel, stride, padding, dilation):
        def size(given, taps, step, gap):
            span = (taps - 1) * gap + 1
            return -(-given // step) if padding == "same" else -(-(given - span + 1) // step)

        return tuple(size(*dim) for dim in zip(x.shape[1:3], kernel, stride, dilation, strict=True))

    @staticmethod
    def _window(options, stride, padding, activation, dilation):
        options.strideH, options.strideW = stride
        options.padding = 0 if padding == "same" else 1
        options.fusedActivationFunction = ACTIVATIONS[activation]
        if dilation:
            options.dilationHFactor, options.dilationWFactor = dilation


def interpret(model: bytes, inputs: np.ndarray) -> np.ndarray:
    """Run tflite-micro on rows of int8 inputs; gives rows of outputs."""
    interpreter = runtime.Interpreter.from_bytes(model, arena_size=4 * len(model) + 2_000_000)
    shape = interpreter.get_input_details(0)["shape"]
    rows = []
    for row in inputs:
        interpreter.set_input(row.reshape(shape), 0)
        interpreter.invoke()
        rows.append(np.array(interpreter.get_output(0)).reshape(-1))
    return np.stack(rows)
