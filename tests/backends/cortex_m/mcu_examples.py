"""Small networks of every kind that kernels are made for, with random weights."""

from __future__ import annotations

from collections.abc import Callable

from mcu_networks import Networks


def ds_cnn(net: Networks, width: int = 64, blocks: int = 4, shape=(1, 49, 10, 1), **settings) -> bytes:
    x = net.conv(net.input(shape), width, (10, 4), (2, 2), activation="relu", zero_point=-128, **settings)
    for _ in range(blocks):
        x = net.depthwise(x, activation="relu", zero_point=-128, distinct=settings.get("distinct", 0))
        x = net.conv(x, width, (1, 1), activation="relu", zero_point=-128, **settings)
    x = net.pool(x, "average", x.shape[1:3], x.shape[1:3])
    x = net.dense(net.reshape(x, (1, width)), 12, **settings)
    return net.finish(net.unary("softmax", x, beta=4 / (128 * x.scale)))


def resnet8(net: Networks, width: int = 16, side: int = 32, **settings) -> bytes:
    x = net.conv(net.input((1, side, side, 3)), width, activation="relu", zero_point=-128, **settings)
    for factor, step in ((1, 1), (2, 2), (4, 2)):
        channels, stride = factor * width, (step, step)
        y = net.conv(x, channels, stride=stride, activation="relu", zero_point=-128, **settings)
        y = net.conv(y, channels, **settings)
        if step > 1:
            x = net.conv(x, channels, (1, 1), stride, **settings)
        x = net.binary("add", x, y, activation="relu", zero_point=-128)
    x = net.pool(x, "average", x.shape[1:3], x.shape[1:3])
    return net.finish(net.dense(net.reshape(x, (1, 4 * width)), 10, **settings))


def mobile(net: Networks) -> bytes:
    x = net.conv(net.input((1, 17, 13, 3)), 8, stride=(2, 2), activation="relu6")
    for channels, step in ((12, 1), (16, 2), (16, 1)):
        x = net.depthwise(x, stride=(step, step), activation="relu6")
        x = net.conv(x, channels, (1, 1), activation="relu6")
    return net.finish(net.dense(net.mean(x, (1, 2)), 5))


def squeeze_and_excite(net: Networks) -> bytes:
    x = net.unary("hard_swish", net.conv(net.input((1, 9, 9, 4)), 12))
    x = net.unary("hard_swish", net.depthwise(x, (5, 5), (2, 2)))
    gate = net.conv(net.mean(x, (1, 2)), 4, (1, 1), activation="relu")
    gate = net.unary("logistic", net.conv(gate, 12, (1, 1)))
    x = net.conv(net.binary("mul", x, gate), 7, (1, 1))
    return net.finish(net.reshape(net.pool(x, "max", (2, 2), (2, 2)), (1, 28)))


def temporal(net: Networks) -> bytes:
    x = net.conv(net.input((1, 1, 40, 13)), 16, (1, 3), padding="valid", activation="relu")
    for gap in (1, 2, 4):
        y = net.conv(x, 16, (1, 3), dilation=(1, gap), activation="relu")
        x = net.binary("add", x, y)
    return net.finish(net.dense(net.mean(x, (2,)), 10))


def perceptron(net: Networks, **settings) -> bytes:
    x = net.input((1, 64))
    for channels in (33, 17):
        x = net.dense(x, channels, activation="relu", **settings)
    x = net.dense(x, 4, **settings)
    return net.finish(net.unary("softmax", x, beta=4 / (128 * x.scale)))


def inception(net: Networks) -> bytes:
    x = net.input((1, 8, 7, 5), 0.05, 3)
    parts = [net.conv(x, c, k, zero_point=9, scale=0.05) for c, k in ((4, (1, 1)), (3, (3, 3)), (2, (5, 5)))]
    x = net.concat([*parts, net.concat([parts[0], parts[0]], 3)], 3)
    return net.finish(net.pool(x, "average", (3, 3), (2, 2), "same"))


def explicit_borders(net: Networks) -> bytes:
    x = net.pad(net.input((1, 10, 10, 3)), [(0, 0), (1, 1), (1, 1), (0, 0)])
    x = net.conv(x, 6, stride=(2, 2), padding="valid", activation="relu")
    x = net.pad(x, [(0, 0), (0, 1), (2, 0), (0, 0)])
    x = net.depthwise(x, stride=(2, 2), padding="valid")
    return net.finish(net.pad(x, [(0, 0), (1, 0), (0, 2), (1, 1)]))


def attention_free_mixer(net: Networks) -> bytes:
    x = net.input((1, 6, 10))
    y = net.reshape(net.dense(net.transpose(x, (0, 2, 1)), 6, rows=10), (1, 10, 6))
    x = net.binary("add", x, net.transpose(y, (0, 2, 1)))
    y = net.reshape(net.dense(x, 10, rows=6, activation="relu"), (1, 6, 10))
    return net.finish(net.unary("tanh", net.binary("sub", x, y)))


def whole_range(net: Networks) -> bytes:
    x = net.conv(net.input((1, 6, 6, 8)), 7, full=True, activation="relu_n1_to_1")
    return net.finish(net.dense(x, 9, full=True))


def long_sums(net: Networks) -> bytes:
    # More weight than 24 bits hold: the paired kernels must not be chosen.
    x = net.dense(net.input((1, 2500)), 3, full=True)
    return net.finish(x)


def large_factors(net: Networks) -> bytes:
    x = net.conv(net.input((1, 5, 5, 2), 0.5), 4, scale=1e-3)
    return net.finish(net.depthwise(x, scale=2e-2))


def odd_sizes(net: Networks) -> bytes:
    x = net.conv(net.input((1, 7, 5, 3)), 5, (2, 3), (1, 2), bias=False, per_channel=False)
    x = net.depthwise(x, (3, 3), (1, 1), multiplier=2, bias=False)
    x = net.binary("mul", x, net.constant((1, 7, 1, 1)))
    return net.finish(net.unary("leaky_relu", x, alpha=0.25))


EXAMPLES: dict[str, Callable[[], bytes]] = {
    "keyword spotting": lambda: ds_cnn(Networks(1, True), 24, 2, (1, 25, 10, 1)),
    "keyword spotting, codebook": lambda: ds_cnn(Networks(2, True), 16, 1, (1, 25, 10, 1), distinct=16),
    "residual": lambda: resnet8(Networks(3, True), 8, 12),
    "residual, codebook": lambda: resnet8(Networks(4, True), 6, 8, distinct=12),
    "residual, sparse": lambda: resnet8(Networks(17, True), 8, 10, zeros=0.85),
    "mobile": lambda: mobile(Networks(5, True)),
    "squeeze and excite": lambda: squeeze_and_excite(Networks(6, True)),
    "temporal": lambda: temporal(Networks(7, True)),
    "perceptron": lambda: perceptron(Networks(8, True)),
    "perceptron, 4 bits": lambda: perceptron(Networks(9, True), bits=4),
    "perceptron, sparse": lambda: perceptron(Networks(18, True), zeros=0.8),
    "inception": lambda: inception(Networks(10, True)),
    "explicit borders": lambda: explicit_borders(Networks(11, True)),
    "mixer": lambda: attention_free_mixer(Networks(12, True)),
    "whole range": lambda: whole_range(Networks(13, True)),
    "long sums": lambda: long_sums(Networks(14, True)),
    "large factors": lambda: large_factors(Networks(15)),
    "odd sizes": lambda: odd_sizes(Networks(16, True)),
}
