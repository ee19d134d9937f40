"""Small models of the usual kinds on scikit-learn's digits, for the tests of techniques."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from autoshrink.models.splits import Split
from autoshrink.models.workload import Workload

__all__ = ["MODELS", "Attention", "Cnn", "NoWeights", "Transformer", "digits", "mlp", "train", "workload_of"]


class Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.norm2(self.conv2(inner)) + self.skip(x))


class Cnn(nn.Module):
    """Batch norms, two residual blocks and a depthwise convolution."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.block1 = Residual(width, width, 1)
        self.block2 = Residual(width, 2 * width, 2)
        self.depthwise = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width)
        self.head = nn.Linear(2 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block2(self.block1(self.stem(x)))
        return self.head(functional.relu(self.depthwise(x)).mean((2, 3)))


class Transformer(nn.Module):
    """Two stock encoder layers over the eight rows of an image."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.embed = nn.Linear(8, width)
        self.position = nn.Parameter(torch.randn(1, 8, width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, 2, 2 * width, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(x.squeeze(1)) + self.position).mean(1))


class Attention(nn.Module):
    """Attention written by hand, whose code wants as many features in its heads as come in."""

    def __init__(self, width: int = 16, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.embed = nn.Linear(8, width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.wide = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x.squeeze(1))
        parts = self.qkv(x).reshape(len(x), 8, 3, self.heads, x.shape[2] // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        x = x + self.out(mixed.transpose(1, 2).reshape(x.shape))
        x = x + self.narrow(functional.gelu(self.wide(x)))
        return self.head(x.mean(1))


class NoWeights(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, 20:30]


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, 10))


MODELS: dict[str, Callable[[], nn.Module]] = {"cnn": Cnn, "mlp": mlp, "transformer": Transformer}


@functools.cache
def digits() -> tuple[Tensor, Tensor]:
    data = load_digits()
    order = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(0))
    images = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 16
    return images[order], torch.tensor(data.target)[order]


def accuracy(outputs: np.ndarray, labels: np.ndarray) -> float:
    return float((outputs.argmax(-1) == labels).mean())


def workload_of(model: nn.Module, examples: int = 256) -> Workload:
    """A workload with few training examples, so that techniques are fast."""
    images, labels = digits()
    parts = {"train": slice(0, examples), "validation": slice(1000, 1300), "test": slice(1300, 1600)}
    splits = {name: Split((images[rows],), labels[rows]) for name, rows in parts.items()}
    calibration = splits["train"].rows(slice(0, 128))
    return Workload(model.eval(), **splits, calibration=calibration, score=accuracy, task="classification", key="test")


def train(model: nn.Module, epochs: int, rate: float = 4e-3) -> nn.Module:
    """Train on the first thousand digits, the same each time."""
    images, labels = (part[:1000] for part in digits())
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=epochs * 16)
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(1000, generator=generator).split(64):
            optimizer.zero_grad()
            functional.cross_entropy(model(images[rows]), labels[rows]).backward()
            optimizer.step()
            schedule.step()
    return model.eval()
