"""Two networks of MLPerf Tiny in PyTorch, with random weights: their cycles don't depend on the values.

References:
    Banbury et al., "MLPerf Tiny Benchmark", 2021: keyword spotting (DS-CNN) and image classification (ResNet-8).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoshrink.backends.cortex_m.convert import convert
from autoshrink.backends.cortex_m.graph import Graph
from autoshrink.core import Encoding
from autoshrink.models.splits import Split

MACS = {"ds_cnn": 2_664_768, "resnet8": 12_501_632}


def stage(
    before: int, after: int, kernel: int | tuple[int, int] = 3, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution with same padding, batch normalization and ReLU."""
    padding = 0 if isinstance(kernel, tuple) else kernel // 2
    conv = nn.Conv2d(before, after, kernel, stride, padding, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(after), nn.ReLU())


class DsCnn(nn.Module):
    """Keyword spotting: 49 × 10 features, 12 classes."""

    def __init__(self) -> None:
        super().__init__()
        blocks = [nn.Sequential(stage(64, 64, groups=64), stage(64, 64, 1)) for _ in range(4)]
        self.features = nn.Sequential(nn.ZeroPad2d((1, 1, 4, 5)), stage(1, 64, (10, 4), 2), *blocks)
        self.head = nn.Linear(64, 12)

    def forward(self, x: Tensor) -> Tensor:
        """Classify, shape (examples, 1, 49, 10)."""
        return self.head(self.features(x).mean((2, 3)))


class Block(nn.Module):
    """Two convolutions and a shortcut, which is a convolution where the shape changes."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = stage(before, after, stride=stride)
        self.second = nn.Sequential(nn.Conv2d(after, after, 3, padding=1, bias=False), nn.BatchNorm2d(after))
        self.shortcut = nn.Conv2d(before, after, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Add both ways."""
        return functional.relu(self.second(self.first(x)) + self.shortcut(x))


class ResNet8(nn.Module):
    """Image classification: 32 × 32 × 3, 10 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(stage(3, 16), Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2))
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Classify, shape (examples, 3, 32, 32)."""
        return self.head(self.features(x).mean((2, 3)))


def graph(name: str) -> Graph:
    """Give a network in int8, by its name in mcu_published.csv."""
    torch.manual_seed(0)
    model, shape = {"ds_cnn": (DsCnn(), (1, 49, 10)), "resnet8": (ResNet8(), (3, 32, 32))}[name]
    examples = torch.randn(16, *shape)
    model(examples)  # the statistics of batch normalization
    encoding = Encoding(scheme="static", weight_bits=8)
    return convert(model.eval(), Split((examples[:1],)), encoding, Split((examples,))).graph
