"""Pooling over windows and over the whole image."""

from __future__ import annotations

from autoshrink.backends.cortex_m.convert.builder import Builder, Value
from autoshrink.backends.cortex_m.convert.network import Window
from autoshrink.backends.cortex_m.convert.rules.call import Call, Rules, pair
from autoshrink.backends.cortex_m.convert.views import View

__all__ = ["RULES"]


def _max_pool(builder: Builder, call: Call) -> Value:
    value = call.value("self")
    dims = len(value.shape) - 2
    image = builder.image(value)
    stride = call["stride"] or call["kernel_size"]
    kernel, strides, pads = pair(call["kernel_size"], dims), pair(stride, dims), pair(call["padding"], dims, default=0)
    if pair(call["dilation"], dims) != (1, 1):
        raise call.refusal("with dilation")
    sizes, wanted = builder.network.shapes[image][1:3], (1, *call.shape[2:])[-2:]
    # What a rounded-up size adds at the end is padding, which never is the largest.
    bottom, right = (max((wanted[i] - 1) * strides[i] + kernel[i] - pads[i] - sizes[i], 0) for i in (0, 1))
    window = Window(kernel, strides, (1, 1), (pads[0], bottom, pads[1], right))
    made = builder.emit("max_pool", [image], (1, *wanted, value.shape[1]), window=window)
    return builder.from_image(made, value)


def _average_pool(builder: Builder, call: Call) -> Value:
    value = call.value("self")
    dims = len(value.shape) - 2
    kernel = pair(call["kernel_size"], dims)
    stride = pair(call["stride"] or call["kernel_size"], dims)
    pads = pair(call["padding"], dims, default=0)
    if call.arguments.get("divisor_override") is not None:
        raise call.refusal("with a divisor")
    padded = any(pads) and call["count_include_pad"]
    if any(pads) and not padded:
        raise call.refusal("that leaves its padding out of the average")
    image = builder.image(value)
    if padded:
        _, height, width, channels = builder.network.shapes[image]
        amounts = ((0, 0), (pads[0], pads[0]), (pads[1], pads[1]), (0, 0))
        image = builder.emit("pad", [image], (1, height + 2 * pads[0], width + 2 * pads[1], channels), pads=amounts)
    window = Window(kernel, stride)
    wanted = (1, *call.shape[2:])[-2:]
    if window.positions(*builder.network.shapes[image][1:3]) != tuple(wanted):
        raise call.refusal("with a rounded-up size")
    return builder.from_image(_averaged(builder, image, window, value.shape[1]), value)


def _adaptive_average(builder: Builder, call: Call) -> Value:
    value = call.value("self")
    window = _adaptive_window(call, value)
    image = builder.image(value)
    return builder.from_image(_averaged(builder, image, window, value.shape[1]), value)


def _adaptive_max(builder: Builder, call: Call) -> Value:
    value = call.value("self")
    window = _adaptive_window(call, value)
    image = builder.image(value)
    shape = (1, *window.positions(*builder.network.shapes[image][1:3]), value.shape[1])
    return builder.from_image(builder.emit("max_pool", [image], shape, window=window), value)


def _adaptive_window(call: Call, value: Value) -> Window:
    sizes, wanted = (1, *value.shape[2:])[-2:], (1, *call.shape[2:])[-2:]
    if any(size % goal for size, goal in zip(sizes, wanted, strict=True)):
        raise call.refusal(f"from {tuple(sizes)} to {tuple(wanted)}, which have no whole ratio,")
    kernel = (sizes[0] // wanted[0], sizes[1] // wanted[1])
    return Window(kernel, kernel)


def _averaged(builder: Builder, image: str, window: Window, channels: int) -> str:
    sizes = builder.network.shapes[image][1:3]
    if window.kernel == tuple(sizes):
        return builder.emit("mean", [image], (1, 1, 1, channels))
    return builder.emit("average_pool", [image], (1, *window.positions(*sizes), channels), window=window)


def _mean(builder: Builder, call: Call) -> Value:
    value, view = call.value("self"), call.value("self").view
    rank = len(value.shape)
    dims = range(1, rank) if call.arguments.get("dim") is None else [dim % rank for dim in call["dim"]]
    if call.arguments.get("dtype") is not None:
        raise call.refusal("with another type")
    if 0 in dims and not view.dims[0]:
        raise call.refusal("over the examples")
    gone = [axis for dim in dims for axis in view.dims[dim]]
    kept = view.memory[len(gone) :]
    if set(view.memory[: len(gone)]) != set(gone):
        raise builder.layout_refusal()
    groups = [() if dim in dims else group for dim, group in enumerate(view.dims)]
    groups = groups if call.arguments.get("keepdim") else [g for dim, g in enumerate(groups) if dim not in dims]
    channels = View(kept, (kept,)).shape[0]
    shape = builder.network.shapes[value.name]
    if len(shape) != 4 or shape[3] != channels:
        shape = (1, 1, View(tuple(gone), (tuple(gone),)).shape[0], channels)
    made = builder.emit("mean", [builder.shaped(value, shape)], (1, 1, 1, channels))
    return Value(made, View(kept, tuple(groups)))


RULES: Rules = {
    **dict.fromkeys(("max_pool1d", "max_pool2d", "max_pool2d_with_indices", "max_pool1d_with_indices"), _max_pool),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d"), _average_pool),
    **dict.fromkeys(("adaptive_avg_pool1d", "adaptive_avg_pool2d", "_adaptive_avg_pool2d"), _adaptive_average),
    **dict.fromkeys(("adaptive_max_pool1d", "adaptive_max_pool2d"), _adaptive_max),
    "mean": _mean,
}
