"""Operators that only move numbers, and those that compute shapes; the number of examples stays free in all of them."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from autoshrink.models.from_onnx.building import BATCHES, Builder, Value
from autoshrink.models.from_onnx.reading import Node, NotTranslatedError, to_tensor

__all__ = ["RULES"]


def _same(build: Builder, node: Node) -> Value:
    return build.get(node, 0)


def _constant(build: Builder, node: Node) -> Value:
    given = node.attributes
    if "value" in given:
        tensor = to_tensor(given["value"])
    elif "value_float" in given or "value_floats" in given:
        tensor = torch.tensor(given.get("value_float", given.get("value_floats")), dtype=torch.float32)
    elif "value_int" in given or "value_ints" in given:
        tensor = torch.tensor(given.get("value_int", given.get("value_ints")), dtype=torch.int64)
    else:
        raise NotTranslatedError(f"{node} holds no numbers")
    return Value((tensor,) * len(BATCHES), name=node.outputs[0])


def _shape(build: Builder, node: Node) -> Value:
    first, last = node.attributes.get("start", 0), node.attributes.get("end")
    return Value(tuple(torch.tensor(sample.shape[first:last]) for sample in build.get(node, 0).samples))


def _filled(build: Builder, node: Node) -> Value:
    fill = to_tensor(node.attributes["value"]) if "value" in node.attributes else torch.zeros(1)
    shapes = [[int(size) for size in sample] for sample in build.get(node, 0).samples]
    for shape in shapes:
        build.check_count(math.prod(shape))
    return Value(tuple(fill.reshape(()).expand(shape).contiguous() for shape in shapes))


def _flatten(build: Builder, node: Node) -> Value:
    value = build.get(node, 0)
    axis = int(node.attributes.get("axis", 1))
    axis += value.samples[0].dim() if axis < 0 else 0
    if axis == 1 and value.samples[0].dim() > 1:
        return build.call(torch.flatten, value, 1)
    sizes = [[math.prod(one.shape[:axis]), math.prod(one.shape[axis:])] for one in value.samples]
    return build.shaped("reshape", value, sizes)


def _reshape(build: Builder, node: Node) -> Value:
    value, wanted = build.get(node, 0), build.get(node, 1)
    if wanted.node is not None:
        raise NotTranslatedError(f"{node} computes its shape from the input's numbers")
    shapes = [[int(size) for size in sample.reshape(-1)] for sample in wanted.samples]
    if not node.attributes.get("allowzero", 0):
        for shape, sample in zip(shapes, value.samples, strict=True):
            shape[:] = [sample.shape[at] if size == 0 else size for at, size in enumerate(shape)]
    batch, axis = build.graph.batch, value.batch_axis
    if batch is not None and axis is not None and shapes[0] == shapes[1]:
        shapes = _freed(node, value, shapes[0], batch, axis)
    shapes = [_explicit(node, shape, sample.numel()) for shape, sample in zip(shapes, value.samples, strict=True)]
    free = [at for at, (one, other) in enumerate(zip(*shapes, strict=True)) if one != other]
    if len(shapes[0]) == 2 and free == [0] and axis == 0 and shapes[0][0] == value.shape[0]:
        return build.call(torch.flatten, value, 1)  # it has no number in it that pruned channels would make wrong
    return build.shaped("reshape", value, shapes)


def _freed(node: Node, value: Value, shape: list[int], batch: int, axis: int) -> list[list[int]]:
    """Put each batch's own number of examples in place of the one that the file is fixed to."""
    fixed = _explicit(node, shape, value.samples[0].numel() // BATCHES[0] * batch)
    before = math.prod(value.shape[:axis])
    # Numbers keep their order: what lies before the axis of the examples stays before it.
    places = [at for at, size in enumerate(fixed) if math.prod(fixed[:at]) == before and size % batch == 0]
    kept = [at for at in places if axis and fixed[at] == batch] or [at for at in places if not axis]
    if not kept:
        raise NotTranslatedError(f"{node} has a shape for {batch} examples only, {shape}; export it with a free batch")
    at = kept[0]
    return [[*fixed[:at], fixed[at] // batch * count, *fixed[at + 1 :]] for count in BATCHES]


def _explicit(node: Node, shape: list[int], count: int) -> list[int]:
    rest = math.prod(size for size in shape if size != -1)
    if shape.count(-1) == 1 and rest and count % rest == 0:
        shape = [count // rest if size == -1 else size for size in shape]
    if math.prod(shape) != count or min(shape, default=1) < 0:
        raise NotTranslatedError(f"{node} gives {count} numbers the shape {shape}")
    return shape


def _expand(build: Builder, node: Node) -> Value:
    value, wanted = build.get(node, 0), build.get(node, 1)
    if wanted.node is not None:
        raise NotTranslatedError(f"{node} computes its shape from the input's numbers")
    sizes = [
        _broadcast(sample.shape, [int(size) for size in shape])
        for sample, shape in zip(value.samples, wanted.samples, strict=True)
    ]
    return build.shaped("expand", value, sizes)


def _broadcast(shape: Sequence[int], wanted: Sequence[int]) -> list[int]:
    rank = max(len(shape), len(wanted))
    one, other = ([*[1] * (rank - len(sizes)), *sizes] for sizes in (shape, wanted))
    return [second if first == 1 else first for first, second in zip(one, other, strict=True)]


def _transpose(build: Builder, node: Node) -> Value:
    value = build.get(node, 0)
    order = node.attributes.get("perm", range(value.samples[0].dim() - 1, -1, -1))
    return build.call(torch.permute, value, [int(axis) for axis in order])


def _squeeze(build: Builder, node: Node) -> Value:
    value, axes = build.get(node, 0), _axes(build, node)
    rank = value.samples[0].dim()
    if axes is None:
        axes = [axis for axis, size in enumerate(value.shape) if size == 1]
    for axis in sorted((axis % max(1, rank) for axis in axes), reverse=True):
        if value.shape[axis] != 1:
            raise NotTranslatedError(f"{node} drops an axis of {value.shape[axis]}, perhaps that of the examples")
        value = build.call(torch.squeeze, value, axis)
    return value


def _unsqueeze(build: Builder, node: Node) -> Value:
    value, axes = build.get(node, 0), _axes(build, node) or []
    rank = value.samples[0].dim() + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        value = build.call(torch.unsqueeze, value, axis)
    return value


def _concat(build: Builder, node: Node) -> Value:
    parts = [build.get(node, index) for index in range(len(node.inputs))]
    axis = int(node.attributes.get("axis", 0)) % parts[0].samples[0].dim()
    computed = next((part for part in parts if part.node is not None), None)
    if computed is not None and build.graph.batch == 1 and computed.batch_axis == 0 and axis:
        # A constant beside one example, such as a class token, is there for each.
        parts = [_repeated(build, part) for part in parts]
    return build.call(torch.cat, parts, axis)


def _repeated(build: Builder, part: Value) -> Value:
    if part.node is not None or part.shape[0] != 1:
        return part
    return build.shaped("expand", part, [[count, *part.shape[1:]] for count in BATCHES])


def _slice(build: Builder, node: Node) -> Value:
    value = build.get(node, 0)
    starts, axes, steps = (build.ints(node, index) for index in (1, 3, 4))
    starts = starts or []
    ends = [[int(end) for end in sample.reshape(-1)] for sample in build.get(node, 2).samples]
    rank = value.samples[0].dim()
    places: list[slice] = [slice(None)] * rank
    for at, axis in enumerate(axes or range(len(starts))):
        size, step = value.shape[axis], steps[at] if steps else 1
        if step == -1 and starts[at] in (-1, size - 1) and ends[0][at] < -size:
            value = build.call(torch.flip, value, [axis])
            continue
        if step < 1:
            raise NotTranslatedError(f"{node} walks backwards")
        whole = all(end[at] >= sample.shape[axis] for end, sample in zip(ends, value.samples, strict=True))
        counts = value.batch_axis == axis % rank or ends[0][at] != ends[1][at]
        if counts and not (whole and starts[at] == 0):
            raise NotTranslatedError(f"{node} takes some of the examples, or as many numbers as there are")
        start, end = (max(-size, min(size, edge)) for edge in (starts[at], ends[0][at]))
        places[axis] = slice(start, None if whole else end, step)
    return build.call(operator.getitem, value, tuple(places))


def _split(build: Builder, node: Node) -> tuple[Value, ...]:
    value = build.get(node, 0)
    axis = int(node.attributes.get("axis", 0)) % value.samples[0].dim()
    sizes = build.ints(node, 1) or list(node.attributes.get("split", ()))
    if not sizes:
        width = -(-value.shape[axis] // len(node.outputs))
        sizes = [min(width, value.shape[axis] - width * index) for index in range(len(node.outputs))]
    if axis == value.batch_axis or sum(sizes) != value.shape[axis] or len(sizes) < len(node.outputs):
        raise NotTranslatedError(f"{node} splits the examples, or into {sizes}")
    starts = [sum(sizes[:index]) for index in range(len(node.outputs))]
    return tuple(build.call(torch.narrow, value, axis, start, size) for start, size in zip(starts, sizes, strict=False))


def _pad(build: Builder, node: Node) -> Value:
    value, pads = build.get(node, 0), build.ints(node, 1) or []
    mode = node.attributes.get("mode", b"constant")
    rank = value.samples[0].dim()
    axes = [axis % rank for axis in build.ints(node, 3) or range(rank)]
    fill = 0.0 if build.optional(node, 2) is None else build.constant(node, 2).item()
    if mode != b"constant" or len(pads) != 2 * len(axes):
        raise NotTranslatedError(f"{node} pads by something else than a constant")
    flat = [0] * (2 * rank)
    for at, axis in enumerate(axes):
        flat[2 * (rank - 1 - axis) : 2 * (rank - axis)] = pads[at], pads[at + len(axes)]
    while len(flat) > 2 and flat[-2:] == [0, 0]:
        flat = flat[:-2]
    return build.call(F.pad, value, flat, "constant", fill)


def _axes(build: Builder, node: Node) -> list[int] | None:
    if "axes" in node.attributes:
        return [int(axis) for axis in node.attributes["axes"]]
    return build.ints(node, 1)


RULES: dict[str, Callable[[Builder, Node], Value | tuple[Value, ...]]] = {
    "Identity": _same,
    "Dropout": _same,
    "Constant": _constant,
    "Shape": _shape,
    "ConstantOfShape": _filled,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Expand": _expand,
    "Transpose": _transpose,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Concat": _concat,
    "Slice": _slice,
    "Split": _split,
    "Pad": _pad,
}
"""How each of these operators is made of torch's, by its type."""
