"""Small nets of every kind, with inputs of their own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoshrink.models.splits import Split

__all__ = ["NETS", "make"]


class Residual(nn.Module):
    """Convolutions with batch norms, a shortcut, pooling by a mean, and a channel that pruning left empty."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.one = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.two = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16))
        self.head = nn.Linear(16, 10)
        self.stem[0].weight.data[3] = 0

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(self.stem(x), 2)
        return self.head(torch.relu(x + self.two(self.one(x))).mean((2, 3)))


class Mobile(nn.Module):
    """Depthwise, grouped and pointwise convolutions, ReLU6, hard swish and a squeeze-and-excite gate."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Sequential(nn.Conv2d(3, 24, 1), nn.BatchNorm2d(24), nn.ReLU6())
        self.depth = nn.Sequential(nn.Conv2d(24, 24, 3, padding=1, groups=24), nn.BatchNorm2d(24), nn.Hardswish())
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(24, 24, 1), nn.Sigmoid())
        self.grouped = nn.Conv2d(24, 24, 3, groups=4)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10))

    def forward(self, x: Tensor) -> Tensor:
        x = self.depth(self.wide(x))
        return self.head(self.grouped(x * self.gate(x)))


class Upsampling(nn.Module):
    """A small U-Net: no fully connected layer, a transposed convolution, a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.out = nn.Conv2d(11, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.cat([x, functional.leaky_relu(self.up(torch.relu(self.down(x))))], 1))


class Signal(nn.Module):
    """One-dimensional convolutions and average pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(4, 16, 5, padding=2),
            nn.BatchNorm1d(16),
            nn.ReLU(),
            nn.AvgPool1d(2),
            nn.Conv1d(16, 16, 3),
            nn.GELU(),
        )
        self.head = nn.Linear(16, 5)

    def forward(self, signal: Tensor) -> Tensor:
        return self.head(self.body(signal).mean(-1))


class Recurrent(nn.Module):
    """Recurrent layers in both directions."""

    def __init__(self, kind: type[nn.GRU] | type[nn.LSTM], layers: int = 2) -> None:
        super().__init__()
        self.body = kind(13, 16, num_layers=layers, batch_first=True, bidirectional=True)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x)[0].mean(1))


class Text(nn.Module):
    """A transformer on tokens and a mask, that takes and gives a dict; its embedding is also its output layer."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(60, 32)
        self.positions = nn.Parameter(torch.randn(1, 12, 32) * 0.1)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, activation="gelu")
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 60, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        x = self.body(self.tokens(input_ids) + self.positions, src_key_padding_mask=attention_mask == 0)
        return {"hidden": x, "logits": self.head(x.mean(1))}


class TwoInputs(nn.Module):
    """A perceptron with batch norms on two inputs, that gives a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU())
        self.right = nn.Sequential(nn.Linear(12, 32), nn.Tanh(), nn.Linear(32, 32, bias=False))
        self.head = nn.Linear(32, 6)

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        x = self.left(left) * self.right(right)
        return self.head(x), x


def _images() -> Split:
    return Split((torch.randn(48, 3, 10, 10),))


def _words() -> Split:
    mask = torch.arange(12)[None] < torch.randint(5, 13, (48, 1))
    return Split((torch.randint(0, 60, (48, 12)), mask.long()), None, ("input_ids", "attention_mask"))


NETS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Split]]] = {
    "residual": (Residual, _images),
    "mobile": (Mobile, _images),
    "upsampling": (Upsampling, _images),
    "signal": (Signal, lambda: Split((torch.randn(48, 4, 32),))),
    "gru": (lambda: Recurrent(nn.GRU), lambda: Split((torch.randn(48, 9, 13),))),
    "lstm": (lambda: Recurrent(nn.LSTM), lambda: Split((torch.randn(48, 9, 13),))),
    "text": (Text, _words),
    "two_inputs": (TwoInputs, lambda: Split((torch.randn(48, 20), torch.randn(48, 12)))),
}


SHORT_GRU = (lambda: Recurrent(nn.GRU, 1), lambda: Split((torch.randn(48, 4, 13),)))
"""For runtimes that unroll every step, and take half a minute for the other."""


def make(name: str) -> tuple[nn.Module, Split]:
    """Make a net with statistics in its batch norms, and 48 examples."""
    build, data = SHORT_GRU if name == "short_gru" else NETS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, examples = build().eval(), data()
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.running_var.uniform_(0.5, 2)
                module.running_mean.normal_()
    return model, examples
