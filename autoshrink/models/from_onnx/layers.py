"""Operators with weights or windows: convolutions, linear layers, norms, embeddings and pools."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoshrink.models.from_onnx.building import Builder, Value
from autoshrink.models.from_onnx.reading import Node, NotTranslatedError

__all__ = ["RULES"]

_CONVS: dict[int, type[nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED: dict[int, type[nn.Module]] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_NORMS: dict[int, type[nn.Module]] = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
_MAX_POOLS = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVERAGE_POOLS = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_MOST = 4096
"""Steps that a window may be wide, apart or padded."""


def _conv(build: Builder, node: Node) -> Value:
    value, weight = build.get(node, 0), build.constant(node, 1)
    kernel, stride, dilation = _window(node, tuple(weight.shape[2:]))
    before, after = _pads(node, value, kernel, stride, dilation)
    if len(kernel) not in _CONVS:
        raise NotTranslatedError(f"{node} has {len(kernel)} dimensions")
    if before != after:
        value, before = _padded(build, value, before, after, 0.0), (0,) * len(before)
    groups = int(node.attributes.get("group", 1))
    bias = None if build.optional(node, 2) is None else build.constant(node, 2)
    settings = {"stride": stride, "padding": before, "dilation": dilation, "groups": groups, "bias": bias is not None}
    module = _CONVS[len(kernel)](weight.shape[1] * groups, weight.shape[0], kernel, **settings)
    build.check_count(value.samples[-1].numel() * max(1, weight.shape[0]))
    return _apply(build, node, module, value, {"weight": weight, "bias": bias}, str(settings))


def _transposed(build: Builder, node: Node) -> Value:
    value, weight = build.get(node, 0), build.constant(node, 1)
    kernel, stride, dilation = _window(node, tuple(weight.shape[2:]))
    if len(kernel) not in _TRANSPOSED or "output_shape" in node.attributes or _auto(node) != "NOTSET":
        raise NotTranslatedError(f"{node} has a shape of its own, or too many dimensions")
    before, after = _pads(node, value, kernel, stride, dilation)
    extra = _few(node, "output_padding", (0,) * len(kernel))
    if before != after:
        raise NotTranslatedError(f"{node} is padded unevenly: {before} and {after}")
    groups = int(node.attributes.get("group", 1))
    bias = None if build.optional(node, 2) is None else build.constant(node, 2)
    settings = {"stride": stride, "padding": before, "output_padding": extra, "groups": groups, "dilation": dilation}
    module = _TRANSPOSED[len(kernel)](
        weight.shape[0], weight.shape[1] * groups, kernel, bias=bias is not None, **settings
    )
    grown = value.samples[-1].numel() * weight.shape[1] * groups
    for step, width in zip(stride, kernel, strict=True):
        grown *= step + width
    build.check_count(grown)
    return _apply(build, node, module, value, {"weight": weight, "bias": bias}, str(settings))


def _gemm(build: Builder, node: Node) -> Value:
    value, weight = build.get(node, 0), build.get(node, 1).constant
    alpha, beta = (float(node.attributes.get(name, 1.0)) for name in ("alpha", "beta"))
    if weight is None or node.attributes.get("transA", 0):
        raise NotTranslatedError(f"{node} has no constant weight, or a transposed input")
    weight = weight if node.attributes.get("transB", 0) else weight.t()
    bias = None if build.optional(node, 2) is None else build.constant(node, 2)
    if bias is not None:
        bias = (bias * beta).reshape(-1).expand(weight.shape[0])
    return _linear(build, node, value, weight if alpha == 1 else weight * alpha, bias, node.inputs[1:3])


def _matmul(build: Builder, node: Node) -> Value:
    value, other = build.get(node, 0), build.get(node, 1)
    weight = other.constant
    if weight is None or weight.dim() != 2 or value.node is None:
        return build.call(torch.matmul, value, other)
    added = build.only_user(node)
    names: tuple[str, ...] = (node.inputs[1],)
    bias = None
    if added is not None and added.op == "Add":
        name = next(name for name in added.inputs if name != node.outputs[0])
        constant = build.values[name].constant if name in build.values else None
        if constant is not None and constant.shape == weight.shape[1:]:
            bias, names = constant, (*names, name)
    result = _linear(build, node, value, weight.t(), bias, names)
    if added is not None and bias is not None:
        build.skipped.add(id(added))
        build.values[added.outputs[0]] = result
    return result


def _linear(
    build: Builder, node: Node, value: Value, weight: Tensor, bias: Tensor | None, names: tuple[str, ...]
) -> Value:
    module = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    settings = f"{names} {sorted(node.attributes.items())}"
    return _apply(build, node, module, value, {"weight": weight, "bias": bias}, settings)


def _batch_norm(build: Builder, node: Node) -> Value:
    value = build.get(node, 0)
    if node.attributes.get("training_mode", 0) or value.samples[0].dim() not in _NORMS:
        raise NotTranslatedError(f"{node} is in training mode: export the model after .eval()")
    names = ("weight", "bias", "running_mean", "running_var")
    weights: dict[str, Tensor | None] = {name: build.constant(node, at) for at, name in enumerate(names, 1)}
    eps = float(node.attributes.get("epsilon", 1e-5))
    # ONNX's momentum is the share that is kept, torch's the share that is new.
    momentum = 1 - float(node.attributes.get("momentum", 0.9))
    module = _NORMS[value.samples[0].dim()](value.shape[1], eps=eps, momentum=momentum)
    return _apply(build, node, module, value, weights, f"{eps}")


def _layer_norm(build: Builder, node: Node) -> Value:
    value, weight = build.get(node, 0), build.constant(node, 1)
    axis = int(node.attributes.get("axis", -1)) % value.samples[0].dim()
    shape = tuple(value.shape[axis:])
    bias = None if build.optional(node, 2) is None else build.constant(node, 2)
    eps = float(node.attributes.get("epsilon", 1e-5))
    module = nn.LayerNorm(shape, eps, bias=bias is not None)
    return _apply(
        build,
        node,
        module,
        value,
        {"weight": weight.expand(shape), "bias": None if bias is None else bias.expand(shape)},
        f"{eps}",
    )


def _gather(build: Builder, node: Node) -> Value:
    value, index = build.get(node, 0), build.get(node, 1)
    axis = int(node.attributes.get("axis", 0)) % max(1, value.samples[0].dim())
    table = value.constant
    if index.node is not None:
        if table is None or table.dim() != 2 or axis:
            raise NotTranslatedError(f"{node} takes places that are computed, from what is no table")
        module = nn.Embedding(*table.shape)
        return _apply(build, node, module, index, {"weight": table}, node.inputs[0])
    place = build.constant(node, 1)
    place = torch.where(place < 0, place + value.shape[axis], place)
    if place.dim() == 0:
        return build.call(torch.select, value, axis, int(place))
    if place.dim() != 1:
        raise NotTranslatedError(f"{node} takes places of {place.dim()} dimensions")
    return build.call(torch.index_select, value, axis, Value((place,) * len(value.samples), name=node.inputs[1]))


def _max_pool(build: Builder, node: Node) -> Value:
    value = build.get(node, 0)
    kernel, stride, dilation = _window(node, _few(node, "kernel_shape", ()))
    if len(node.outputs) > 1 or len(kernel) not in _MAX_POOLS:
        raise NotTranslatedError(f"{node} gives places too, or has {len(kernel)} dimensions")
    before, after = _pads(node, value, kernel, stride, dilation)
    if before != after or any(2 * pad > width for pad, width in zip(before, kernel, strict=True)):
        value, before = _padded(build, value, before, after, -torch.inf), (0,) * len(before)
    settings: dict[str, Any] = {"kernel_size": kernel, "stride": stride, "padding": before, "dilation": dilation}
    return build.call(_MAX_POOLS[len(kernel)], value, **settings, ceil_mode=bool(node.attributes.get("ceil_mode", 0)))


def _average_pool(build: Builder, node: Node) -> Value:
    value = build.get(node, 0)
    kernel, stride, dilation = _window(node, _few(node, "kernel_shape", ()))
    before, after = _pads(node, value, kernel, stride, dilation)
    counted = bool(node.attributes.get("count_include_pad", 0))
    if len(kernel) not in _AVERAGE_POOLS or set(dilation) != {1} or (before != after and not counted):
        raise NotTranslatedError(f"{node} is dilated, padded unevenly or has {len(kernel)} dimensions")
    if before != after:
        value, before = _padded(build, value, before, after, 0.0), (0,) * len(before)
    settings: dict[str, Any] = {"kernel_size": kernel, "stride": stride, "padding": before}
    settings["count_include_pad"] = counted
    return build.call(
        _AVERAGE_POOLS[len(kernel)], value, **settings, ceil_mode=bool(node.attributes.get("ceil_mode", 0))
    )


def _global_pool(build: Builder, node: Node) -> Value:
    value = build.get(node, 0)
    axes = list(range(2, value.samples[0].dim()))
    return build.call(torch.mean if node.op == "GlobalAveragePool" else torch.amax, value, axes, True)


def _apply(
    build: Builder, node: Node, module: nn.Module, value: Value, weights: dict[str, Tensor | None], settings: str
) -> Value:
    for name, tensor in weights.items():
        there = getattr(module, name)
        if tensor is None or there is None:
            continue
        if tensor.shape != there.shape:
            raise NotTranslatedError(f"{node} has a {name} of shape {tuple(tensor.shape)}, not {tuple(there.shape)}")
        with torch.no_grad():
            there.copy_(tensor)
    key = (node.op, node.inputs[0] if node.op == "Gather" else node.inputs[1:], settings, type(module))
    named = node.inputs[0] if node.op == "Gather" else node.inputs[1]
    return build.layer(_KINDS[node.op], key, named, module, value)


def _window(node: Node, kernel: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    ones = (1,) * len(kernel)
    found = kernel, _few(node, "strides", ones), _few(node, "dilations", ones)
    if not kernel or any(len(numbers) != len(kernel) or min(numbers) < 1 or max(numbers) > _MOST for numbers in found):
        raise NotTranslatedError(f"{node} has an impossible window: {found}")
    return found


def _pads(
    node: Node, value: Value, kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Give how many steps are added before and after each dimension."""
    auto, count = _auto(node), len(kernel)
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        sizes = value.shape[-count:]
        spans = [space * (width - 1) + 1 for width, space in zip(kernel, dilation, strict=True)]
        totals = [
            max(0, (-(-size // step) - 1) * step + span - size)
            for size, step, span in zip(sizes, stride, spans, strict=True)
        ]
        less, more = tuple(total // 2 for total in totals), tuple(total - total // 2 for total in totals)
        return (less, more) if auto == "SAME_UPPER" else (more, less)
    pads = _few(node, "pads", (0,) * (2 * count)) if auto == "NOTSET" else (0,) * (2 * count)
    if len(pads) != 2 * count or min(pads) < 0 or max(pads) > _MOST:
        raise NotTranslatedError(f"{node} has impossible pads: {pads}")
    return pads[:count], pads[count:]


def _padded(build: Builder, value: Value, before: tuple[int, ...], after: tuple[int, ...], fill: float) -> Value:
    pads = [pad for pair in zip(reversed(before), reversed(after), strict=True) for pad in pair]
    return build.call(F.pad, value, pads, "constant", fill)


def _few(node: Node, name: str, otherwise: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(number) for number in node.attributes.get(name, otherwise))


def _auto(node: Node) -> str:
    found: Any = node.attributes.get("auto_pad", b"NOTSET")
    return found.decode(errors="replace") if isinstance(found, bytes) else str(found)


_KINDS = {
    "Conv": "conv",
    "ConvTranspose": "conv_transpose",
    "Gemm": "linear",
    "MatMul": "linear",
    "BatchNormalization": "norm",
    "LayerNormalization": "norm",
    "Gather": "embedding",
}
"""What a layer is called whose weights have no telling name."""

RULES = {
    "Conv": _conv,
    "ConvTranspose": _transposed,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "Gather": _gather,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_pool,
    "GlobalMaxPool": _global_pool,
}
"""How each of these operators is made of torch's, by its type."""
