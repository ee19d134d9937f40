"""Small torch networks that between them use everything that can be converted."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


def stage(channels_in, channels, kernel=3, stride=1, padding=1, groups=1, activation=nn.ReLU):
    convolution = nn.Conv2d(channels_in, channels, kernel, stride, padding, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), activation())


class DsCnn(nn.Module):
    """Reads frames without a channel dimension; pads by a module of its own."""

    def __init__(self, channels=16):
        super().__init__()
        stem = nn.Conv2d(1, channels, (10, 4), stride=2, bias=False)
        self.stem = nn.Sequential(nn.ZeroPad2d((1, 1, 4, 5)), stem, nn.BatchNorm2d(channels), nn.ReLU(), nn.Dropout())
        blocks = [(stage(channels, channels, groups=channels), stage(channels, channels, 1, 1, 0)) for _ in range(2)]
        self.blocks = nn.Sequential(*(layer for block in blocks for layer in block))
        self.head = nn.Linear(channels, 12)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x.unsqueeze(1))).mean((2, 3)))


class Residual(nn.Module):
    """Strided shortcuts, activations in place, odd widths as pruning leaves them."""

    def __init__(self):
        super().__init__()
        self.stem = stage(3, 7)
        self.first, self.second = nn.Conv2d(7, 13, 3, 2, 1), nn.Conv2d(13, 13, 3, 1, 1, bias=False)
        self.norm, self.shortcut = nn.BatchNorm2d(13), nn.Conv2d(7, 13, 1, 2)
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(13, 10)

    def forward(self, x):
        x = self.stem(x)
        y = functional.relu(self.first(x), inplace=True)
        y = functional.relu(self.norm(self.second(y)) + self.shortcut(x))
        return self.head(torch.flatten(self.pool(y), 1))


class PoolThenRelu(nn.Module):
    """Activations after pools, a flattened image, a functional softmax."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.drop = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 10, 3), nn.Dropout2d()
        self.hidden, self.head = nn.Linear(10 * 2 * 2, 16), nn.Linear(16, 5)

    def forward(self, x):
        x = functional.relu(functional.max_pool2d(self.first(x), 2))
        x = functional.relu(functional.max_pool2d(self.drop(self.second(x)), 2)).view(-1, 40)
        x = functional.dropout(functional.relu(self.hidden(x)), training=self.training)
        return functional.softmax(self.head(x), dim=1)


class SqueezeExcite(nn.Module):
    """Both ways to write it, hard and soft; hard swish; relu6; a padded maximum pool of negative numbers."""

    def __init__(self):
        super().__init__()
        self.stem, self.grow = stage(3, 8, 3, 2, activation=nn.Hardswish), stage(8, 20, 1, 1, 0, activation=nn.ReLU6)
        self.depth = stage(20, 20, 5, 2, 2, 20, activation=nn.Hardswish)
        self.hard = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(20, 4, 1), nn.ReLU(), nn.Conv2d(4, 20, 1), nn.Hardsigmoid()
        )
        self.squeeze, self.excite = nn.Linear(20, 5), nn.Linear(5, 20)
        self.project = nn.Sequential(nn.Conv2d(20, 8, 1, bias=False), nn.BatchNorm2d(8))
        self.head = nn.Linear(8, 7)

    def forward(self, x):
        x = self.stem(x)
        y = self.depth(self.grow(x))
        y = y * self.hard(y)
        y = y * torch.sigmoid(self.excite(functional.relu(self.squeeze(y.mean((2, 3)))))).view(x.size(0), -1, 1, 1)
        y = self.project(y) + functional.max_pool2d(-x, 3, 2, 1)
        return self.head(functional.adaptive_avg_pool2d(y, 1).flatten(1))


class OneDimension(nn.Module):
    """Convolutions, norms, pools and padding over one dimension; swish and tanh."""

    def __init__(self):
        super().__init__()
        self.entry, self.first = nn.BatchNorm1d(6), nn.Conv1d(6, 12, 5, stride=2, padding=2)
        self.norm, self.second = nn.BatchNorm1d(12), nn.Conv1d(12, 12, 3, padding=2, groups=12, dilation=2)
        self.largest, self.average, self.head = nn.MaxPool1d(2), nn.AvgPool1d(2), nn.Linear(48, 5)

    def forward(self, x):
        x = functional.silu(self.norm(self.first(self.entry(x))))
        x = functional.pad(self.largest(torch.tanh(self.second(x))), (1, 0))
        return self.head(self.average(functional.pad(x, (1, 0))).flatten(1))


class Dense(nn.Module):
    """Concatenations, norms after them, constants of several shapes, a padded average pool."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding="same")
        self.third, self.norm, self.head = nn.Conv2d(19, 6, 1), nn.BatchNorm2d(16), nn.Linear(96, 4)
        self.places = nn.Parameter(torch.randn(1, 6, 4, 4))

    def forward(self, x):
        x = (x - 0.5) / torch.tensor([0.2, 0.3, 0.25]).view(1, 3, 1, 1)
        y = functional.relu(self.first(x))
        z = functional.relu(self.norm(torch.cat([y, self.second(y)], 1)))
        z = self.third(torch.cat([z, x], 1))
        z = 1 - (functional.avg_pool2d(z, 3, 2, 1) * self.places + self.places)
        return self.head(z.flatten(1))


class Mixer(nn.Module):
    """Linear layers over the last of three dimensions, and transpositions that cost nothing."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.mix = nn.Linear(10, 16), nn.Linear(16, 8), nn.Conv1d(8, 4, 1)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = self.second(functional.relu(self.first(x))).transpose(1, 2)
        return self.head(functional.relu(self.mix(x)).transpose(1, 2).mean(1))


class LowRank(nn.Module):
    """Layers as factorization and pruning leave them: thin pairs, one channel, no bias; a pool that rounds up."""

    def __init__(self):
        super().__init__()
        pair = nn.Conv2d(1, 5, (3, 1), padding=(1, 0), bias=False), nn.Conv2d(5, 13, (1, 3), padding=(0, 1))
        self.body = nn.Sequential(*pair, nn.BatchNorm2d(13), nn.ReLU(), nn.Conv2d(13, 1, 3), nn.ReLU())
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(9, 3, bias=False), nn.Linear(3, 10))

    def forward(self, x):
        return self.head(self.pool(self.body(x)))


class SequenceFirst(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(5, 7), nn.Linear(7, 2)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x.permute(1, 0, 2))).mean(0))


class Gates(nn.Module):
    """Fixed scales that meet others in a concatenation."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(8, 6), nn.Linear(8, 6), nn.Linear(20, 3)

    def forward(self, x):
        parts = [torch.sigmoid(self.first(x)), torch.tanh(self.second(x)), 3 * x]
        return self.head(torch.cat(parts, -1))


class Corners(nn.Module):
    """Activations that nothing can take in, pools to given sizes, plain matrices, joined rows, work in place."""

    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Conv2d(2, 6, 3, padding=1), nn.Linear(5, 4)
        self.register_buffer("matrix", torch.randn(24, 5))
        self.register_buffer("more", torch.randn(5))

    def forward(self, x):
        x = self.first(x)
        y = functional.relu6(x) + functional.relu(x) - 0.5 * functional.hardsigmoid(x)
        y = functional.adaptive_max_pool2d(torch.cat([y, functional.pad(x, (0, 0, 1, 0))], 2), (1, 2))
        z = functional.adaptive_avg_pool2d(x, (1, 2)).mul_(2).clamp_(min=0)
        rows = torch.cat([y.flatten(2), z.flatten(2)], 2).reshape(x.size(0), 24)
        rows = torch.addmm(self.more, rows, self.matrix) if x.size(0) == 1 else rows @ self.matrix + self.more
        return (self.head(rows.sigmoid_()) / 2 - self.more[:4]).neg()


class Segmentation(nn.Module):
    """Gives an image."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 9, 3, padding=1), nn.Conv2d(9, 4, 1)

    def forward(self, x):
        return self.second(functional.relu(self.first(x)))


MODULES = {
    "ds_cnn": (DsCnn, (49, 10)),
    "residual": (Residual, (3, 12, 12)),
    "pool_then_relu": (PoolThenRelu, (1, 16, 16)),
    "squeeze_excite": (SqueezeExcite, (3, 16, 16)),
    "one_dimension": (OneDimension, (6, 30)),
    "dense": (Dense, (3, 8, 8)),
    "mixer": (Mixer, (9, 10)),
    "low_rank": (LowRank, (1, 8, 8)),
    "sequence_first": (SequenceFirst, (6, 5)),
    "gates": (Gates, (8,)),
    "corners": (Corners, (2, 4, 6)),
    "segmentation": (Segmentation, (3, 6, 5)),
}


def build(name: str) -> tuple[nn.Module, torch.Tensor]:
    """Give a module with norms as training leaves them, and 64 examples."""
    kind, shape = MODULES[name]
    generator = torch.Generator().manual_seed(7)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = kind().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            with torch.no_grad():
                module.running_mean.copy_(torch.randn(module.num_features, generator=generator) * 0.3)
                module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.3)
                module.weight.copy_(torch.randn(module.num_features, generator=generator) * 0.3 + 1)
                module.bias.copy_(torch.randn(module.num_features, generator=generator) * 0.2)
    return model, torch.randn(64, *shape, generator=generator)
