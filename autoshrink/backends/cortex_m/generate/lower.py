"""A graph as a list of calls: views become names for the same bytes, borders become padding, the rest kernels."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from autoshrink.backends.cortex_m.generate.cores import Kernels
from autoshrink.backends.cortex_m.generate.elementwise_steps import binary_step, softmax_step, unary_step
from autoshrink.backends.cortex_m.generate.linear import Linear, Window, linear
from autoshrink.backends.cortex_m.generate.linear_steps import linear_step
from autoshrink.backends.cortex_m.generate.move_steps import concat_steps, pad_step, paddings, transpose_step
from autoshrink.backends.cortex_m.generate.pool_steps import mean_step, pool_step
from autoshrink.backends.cortex_m.generate.steps import Step, constant_integers
from autoshrink.backends.cortex_m.generate.tables import TABLE_OPS
from autoshrink.backends.cortex_m.graph import Graph, Op, Tensor
from autoshrink.core import Refusal, SpecError

__all__ = ["Program", "lower"]

_LINEAR = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
_LARGEST = 2**28
_VIEWS = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")


@dataclass(frozen=True)
class Program:
    """Calls in order. Their inputs and outputs are tensors of the graph that have bytes of their own."""

    steps: tuple[Step, ...]
    given: Tensor
    made: Tensor
    input: int
    output: int


class _Lowering:
    def __init__(self, graph: Graph, kernels: Kernels, packed: bool) -> None:
        self.graph = graph
        self.kernels = kernels
        self.packed = packed
        self.steps: list[Step] = []
        self.same: dict[int, int] = {}
        self.borders: dict[int, Op] = {}
        self.uses = Counter(index for op in graph.ops for index in op.inputs)
        self.uses.update(graph.outputs)

    def bytes_of(self, index: int) -> int:
        """Give the tensor whose bytes a tensor is."""
        while index in self.same:
            index = self.same[index]
        return index

    def add(self, op: Op) -> None:
        """Append the calls of an operator."""
        graph, number = self.graph, len(self.steps)
        self._check(op)
        if op.kind in _VIEWS or self._is_view(op):
            self._view(op)
        elif op.kind in ("PAD", "PADV2") and self._foldable(op):
            self.borders[op.outputs[0]] = op
        elif op.kind in _LINEAR:
            self._linear(op, number)
        elif op.kind in TABLE_OPS:
            self._append(unary_step(graph, op, number))
        elif op.kind in ("ADD", "SUB", "MUL"):
            self._append(binary_step(graph, op, number))
        elif op.kind in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
            self._append(pool_step(graph, op, number))
        elif op.kind == "CONCATENATION":
            for step in concat_steps(graph, op, number):
                self._append(step)
        elif op.kind == "MEAN":
            self._append(mean_step(graph, op, number))
        elif op.kind == "SOFTMAX":
            self._append(softmax_step(graph, op, number))
        elif op.kind in ("PAD", "PADV2"):
            self._append(pad_step(graph, op, number))
        elif op.kind == "TRANSPOSE":
            self._append(transpose_step(graph, op, number))
        else:
            raise Refusal(f"operator {op.kind} has no kernel here")

    def _append(self, step: Step) -> None:
        self.steps.append(replace(step, inputs=tuple(self.bytes_of(index) for index in step.inputs)))

    def _check(self, op: Op) -> None:
        """Every operand of a kernel is int8 with one scale; where constants are allowed, the kernel's builder says."""
        data = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1, "ADD": 2, "SUB": 2, "MUL": 2}
        count = len(op.inputs) if op.kind == "CONCATENATION" else data.get(op.kind, 1)
        if len(op.inputs) < count or not op.inputs or -1 in op.inputs[:count]:
            raise SpecError(f"{op.kind} lacks an operand")
        constants = op.kind in ("ADD", "SUB", "MUL", "CONCATENATION")
        for index in (*op.inputs[:count], *op.outputs):
            tensor = self.graph.tensors[index]
            if tensor.dtype == "float32" and op.kind in ("QUANTIZE", "DEQUANTIZE"):
                continue
            if tensor.dtype != "int8":
                raise Refusal(f"{op.kind}: tensor {tensor.name!r} is {tensor.dtype}; kernels take int8 only")
            if len(tensor.scales) != 1 or not -128 <= tensor.zero_point <= 127:
                raise SpecError(f"{op.kind}: tensor {tensor.name!r} has no single scale and int8 zero point")
            if tensor.size > _LARGEST:
                raise Refusal(
                    f"{op.kind}: tensor {tensor.name!r} of {tensor.size} bytes exceeds any microcontroller's memory"
                )
            if tensor.data is not None and not constants:
                raise Refusal(f"{op.kind}: tensor {tensor.name!r} is a constant; it should be computed ahead of time")

    def _is_view(self, op: Op) -> bool:
        given, made = self.graph.tensors[op.inputs[0]], self.graph.tensors[op.outputs[0]]
        if op.kind in ("QUANTIZE", "DEQUANTIZE"):
            same = (given.scales, given.zero_points) == (made.scales, made.zero_points)
            return same or "float32" in (given.dtype, made.dtype)
        if op.kind == "TRANSPOSE":
            order = constant_integers(self.graph, op, 1, bound=len(given.shape))
            moved = [dim for dim in order if given.shape[dim] > 1]
            return sorted(order) == list(range(len(given.shape))) and moved == sorted(moved)
        return False

    def _view(self, op: Op) -> None:
        given, made = self.graph.tensors[op.inputs[0]], self.graph.tensors[op.outputs[0]]
        if given.size != made.size:
            raise SpecError(f"{op.kind} {made.name!r} makes {made.shape} of {given.shape}")
        quantized = "float32" not in (given.dtype, made.dtype)
        if quantized and (given.scales, given.zero_points) != (made.scales, made.zero_points):
            raise Refusal(f"{op.kind} must keep the quantization of its input ({made.name})")
        if op.outputs[0] not in self.borders and op.inputs[0] in self.borders:
            raise Refusal(f"{op.kind} of a border that belongs to a convolution ({made.name})")
        self.same[op.outputs[0]] = op.inputs[0]

    def _foldable(self, op: Op) -> bool:
        """Whether a border of zeros is read by one convolution only, which can imagine it."""
        readers = [other for other in self.graph.ops if op.outputs[0] in other.inputs]
        if (
            len(readers) != 1
            or self.uses[op.outputs[0]] != 1
            or readers[0].kind not in ("CONV_2D", "DEPTHWISE_CONV_2D")
        ):
            return False
        before, after, value = paddings(self.graph, op)
        made = self.graph.tensors[op.outputs[0]]
        inner = len(before) == 4 and not any((before[0], after[0], before[3], after[3]))
        return inner and value == made.zero_point and readers[0].options["padding"] == "valid"

    def _linear(self, op: Op, number: int) -> None:
        layer = linear(self.graph, op)
        given = op.inputs[0]
        if given in self.borders:
            border = self.borders[given]
            layer, given = self._without_border(layer, border), border.inputs[0]
        self._append(linear_step(layer, given, op.outputs[0], number, self.kernels, packed=self.packed))

    def _without_border(self, layer: Linear, border: Op) -> Linear:
        inner = self.graph.tensors[border.inputs[0]]
        before, _, _ = paddings(self.graph, border)
        window: Window = replace(layer.window, given=(inner.shape[1], inner.shape[2]), before=(before[1], before[2]))
        return replace(layer, window=window)


def lower(graph: Graph, kernels: Kernels, *, packed: bool = True) -> Program:
    """Turn a graph into calls of kernels.

    Args:
        graph: int8 throughout; a float input that is quantized at once, and a float output, are the caller's business.
        kernels: which of the runtime's kernels the core can run.
        packed: whether weights may be stored in less than a byte each, where that costs nothing but instructions.

    Raises:
        Refusal: an operator, or its shape or quantization, has no kernel.
        SpecError: the graph contradicts itself.
    """
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise Refusal(
            f"a network with {len(graph.inputs)} inputs and {len(graph.outputs)} outputs; only 1 and 1 are taken"
        )
    lowering = _Lowering(graph, kernels, packed)
    for op in graph.ops:
        lowering.add(op)
    given, made = graph.inputs[0], lowering.bytes_of(graph.outputs[0])
    tensors = [_integer(graph, index) for index in (given, graph.outputs[0])]
    if made == given:
        copy = Step(
            "copy", f"as_copy({{out}}, {{a}}, {tensors[0].size});", (given,), graph.outputs[0], ("as_memory.c",)
        )
        lowering.steps.append(copy)
        made = graph.outputs[0]
    if not lowering.steps or graph.tensors[made].data is not None:
        raise SpecError("the network's output does not depend on its input")
    return Program(tuple(lowering.steps), tensors[0], tensors[1], given, made)


def _integer(graph: Graph, index: int) -> Tensor:
    """Give the int8 form of an input or output that the file may have as floats."""
    tensor = graph.tensors[index]
    if tensor.dtype == "float32":
        found = [graph.tensors[op.outputs[0]] for op in graph.ops if op.kind == "QUANTIZE" and op.inputs[0] == index]
        found += [graph.tensors[op.inputs[0]] for op in graph.ops if op.kind == "DEQUANTIZE" and op.outputs[0] == index]
        distinct = {(form.dtype, form.scales, form.zero_points) for form in found}
        if len(distinct) != 1:
            raise Refusal(f"tensor {tensor.name!r} holds floats that are not quantized in one way")
        return found[0]
    if tensor.dtype != "int8" or len(tensor.scales) != 1:
        raise Refusal(f"tensor {tensor.name!r} is {tensor.dtype}; inputs and outputs must be int8")
    return tensor


def sizes(program: Program, graph: Graph) -> dict[int, int]:
    """Give the bytes of every activation."""
    used = {index for step in program.steps for index in (*step.inputs, step.output)}
    return {index: int(np.prod(graph.tensors[index].shape)) for index in used}
