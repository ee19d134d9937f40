"""What torch can compute, MXNet computes alike: each export is checked against torch, to 1e-4, before it is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from autoshrink.backends.mxnet import MxNet
from autoshrink.core import Artifact, Encoding, Hardware, Refusal
from autoshrink.models.splits import Split

pytestmark = pytest.mark.usefixtures("environments")


class Computing(nn.Module):
    """Puts what several functions give beside each other."""

    def __init__(self, *functions: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.functions = functions
        self.layers = nn.ModuleList(one for one in functions if isinstance(one, nn.Module))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([one(x).flatten(1).float() for one in self.functions], 1)


def export(model: nn.Module, inputs: tuple[Tensor, ...], folder: Path, encoding: Encoding | None = None) -> Artifact:
    examples, hardware = Split(inputs), Hardware(name="here", kind="cpu", backend="mxnet")
    example = examples.rows(slice(0, 1))
    return MxNet().export(model.eval(), example, encoding or Encoding(), examples, folder, hardware)


POINTWISE = (
    functional.elu, functional.selu, functional.gelu, functional.silu, functional.mish, functional.softsign,
    functional.hardswish, functional.hardsigmoid, functional.relu6, functional.leaky_relu, functional.logsigmoid,
    torch.abs, torch.sin, torch.cos, torch.exp, torch.sign, torch.floor, torch.ceil,
    lambda x: x.clamp(min=0.1).sqrt() + x.clamp(min=0.1).log() - x.clamp(max=-0.5).reciprocal(),
    lambda x: 2 - x / 3 + x**3 + 1 / (x**2 + 1),
    lambda x: torch.where((x > 0.1) & ~(x >= 0.5) | (x < -1), x, -x),
    lambda x: torch.maximum(x, x.roll(1, -1)) * torch.minimum(x, x.flip(-1).flip(-1) * 2),
)  # fmt: skip
SHAPES = (
    lambda x: x[:, 1:3, ::2, -3:] * 2,
    lambda x: x[:, 2] + x[:, -1],
    lambda x: torch.cat(x.split([1, 3], 1)[::-1], 1).transpose(1, 2),
    lambda x: x.chunk(2, -1)[1].squeeze().unsqueeze(0),
    lambda x: x.mean((2, 3)) + x.amax(-1).amin(-1) + x.sum((1, 2, 3))[:, None],
    lambda x: x.softmax(1) - x.log_softmax(-1),
    lambda x: x[:, torch.tensor([3, 0, 0])],
    lambda x: x.mean(1, keepdim=True).expand(-1, 3, -1, -1) * torch.arange(8.0),
    lambda x: x @ x.transpose(-1, -2),
    lambda x: functional.pad(x, (1, 2, 0, 1), value=0.5) - functional.pad(x[..., :1], (1, 9, 0, 1)),
    lambda x: functional.pad(x, (1, 2, 3, 1), mode="reflect"),
    lambda x: functional.pixel_shuffle(x, 2),
    lambda x: x.flip(2, 3)[:, :, 1:],
    lambda x: (x > 0).float() + (x * 3).int(),
)
WINDOWS = (
    nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2),
    nn.Conv2d(4, 3, (3, 1), dilation=(2, 1), bias=False),
    nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1, output_padding=1),
    nn.ConvTranspose2d(4, 4, 2, groups=2, bias=False),
    nn.MaxPool2d(3, 2, 1),
    nn.AvgPool2d(3, 2, 1),
    nn.AvgPool2d(2, ceil_mode=True),
    nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    nn.AdaptiveMaxPool2d(1),
    nn.InstanceNorm2d(4, affine=True),
    nn.LayerNorm(8),
    nn.PReLU(4),
    nn.Sequential(nn.ReLU(), nn.BatchNorm2d(4)),
    nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(4, 4, 2)),
    nn.Sequential(nn.Flatten(), nn.Linear(256, 8), nn.BatchNorm1d(8)),
    nn.Sequential(nn.Flatten(2), nn.Conv1d(4, 5, 3, padding=1), nn.MaxPool1d(2), nn.AvgPool1d(2)),
)


@pytest.mark.parametrize("functions", [POINTWISE, SHAPES, WINDOWS], ids=["pointwise", "shapes", "windows"])
def test_it_computes_what_torch_computes(functions: tuple[Callable[[Tensor], Tensor], ...], tmp_path: Path) -> None:
    model = Computing(*functions)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean = torch.randn_like(module.running_mean)
            module.running_var = torch.rand_like(module.running_var) + 0.5
    assert export(model, (torch.randn(8, 4, 8, 8),), tmp_path).size > 0


@pytest.mark.parametrize("layer", [nn.LSTM(6, 5, bidirectional=True), nn.GRU(6, 5, 2), nn.RNN(6, 5)])
def test_recurrent_layers(layer: nn.RNNBase, tmp_path: Path) -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x.transpose(0, 1))[0][-1]

    if isinstance(layer, nn.RNN):
        with pytest.raises(Refusal, match="MXNet can't execute the model: there is no operator RNN"):
            export(Last(), (torch.randn(8, 4, 6),), tmp_path)
    else:
        assert export(Last(), (torch.randn(8, 4, 6),), tmp_path).notes["operators"]["RNN"] == layer.num_layers


def test_weights_that_are_shared_are_kept_once_and_inputs_that_are_not_used_are_taken(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(64, 64, bias=False)

        def forward(self, unused: Tensor, x: Tensor) -> Tensor:
            return self.one(torch.relu(self.one(x)))

    artifact = export(Tied(), (torch.randn(4, 3), torch.randn(4, 64)), tmp_path)
    assert artifact.notes["layers"] == {"integers": 0, "float": 2}
    assert (tmp_path / "model-0000.params").stat().st_size < 1.1 * 4 * 64 * 64


def test_int8_has_fused_layers_and_leaves_out_what_the_quantizer_can_t_do(tmp_path: Path) -> None:
    body = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())
    model = nn.Sequential(body, nn.Flatten(2), nn.Conv1d(8, 4, 3), nn.Flatten(), nn.Linear(248, 5))
    images = (torch.randn(16, 4, 8, 8),)
    for granularity, stored in (("per_channel", 0), ("per_tensor", 1)):
        encoding = Encoding(scheme="static", weight_bits=8, granularity=granularity)
        artifact = export(model, images, tmp_path, encoding)
        assert artifact.notes["layers"] == {"integers": 3, "float": 1}
        assert artifact.notes["stored"] == stored
        assert "Activation" not in artifact.notes["operators"]


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: torch.topk(x, 2).values, "there is no operator TopK"),
        (lambda x: torch.fft.fft(x).real, "torch's exporter can't follow the model"),
        (lambda x: x.sum(1) * 2, "static int8 was asked for, and MXNet's quantizer finds no layer"),
    ],
)
def test_what_it_has_not_is_refused(function: Callable[[Tensor], Tensor], reason: str, tmp_path: Path) -> None:
    class Model(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return function(x)

    encoding = Encoding(scheme="static", weight_bits=8) if "int8" in reason else Encoding()
    with pytest.raises(Refusal, match=reason):
        export(Model(), (torch.randn(8, 4),), tmp_path, encoding)


def test_an_infinite_activation_is_refused(tmp_path: Path) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.two(torch.log(torch.relu(self.one(x))))

    with pytest.raises(Refusal, match="infinit"):
        export(Model(), (torch.randn(16, 4),), tmp_path, Encoding(scheme="static", weight_bits=8))
