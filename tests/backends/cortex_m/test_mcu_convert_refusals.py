"""What has no int8 kernel is refused, by the name of the operator and of the module."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from autoshrink.backends.cortex_m.convert import convert
from autoshrink.backends.cortex_m.encodings import refused
from autoshrink.core import Encoding, Refusal
from autoshrink.models.splits import Split

INT8 = Encoding(scheme="static", weight_bits=8)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.GRU(4, 5, batch_first=True)

    def forward(self, x):
        return self.cell(x)[0]


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x):
        return self.mix(x, x, x)[0]


class Branching(nn.Module):
    def forward(self, x):
        return x + 1 if x.sum() > 0 else x


class Product(nn.Module):
    def forward(self, x):
        return x @ x.transpose(1, 2)


class OverExamples(nn.Module):
    def forward(self, x):
        return x - x.mean(0)


class Transposed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(6, 3)

    def forward(self, x):
        return self.second(self.first(x).transpose(1, 2))


@pytest.mark.parametrize(
    ("model", "shape", "message"),
    [
        (nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), (4,), r"layer_norm in module '1' \(LayerNorm\)"),
        (nn.Sequential(nn.Linear(4, 4), nn.GELU()), (4,), r"gelu in module '1' \(GELU\)"),
        (nn.Sequential(nn.LeakyReLU()), (4,), r"leaky_relu in module '0' \(LeakyReLU\)"),
        (nn.Sequential(nn.Hardtanh(-1, 1)), (4,), r"hardtanh to -1(.0)?…1(.0)? in module '0' \(Hardtanh\)"),
        (nn.Sequential(nn.Conv2d(4, 4, 3, groups=2)), (4, 6, 6), r"conv2d with 2 groups of 2 channels in module '0'"),
        (nn.Sequential(nn.Conv3d(2, 2, 2)), (2, 4, 4, 4), r"conv3d in module '0' \(Conv3d\)"),
        (nn.Sequential(nn.ConvTranspose2d(2, 2, 2)), (2, 4, 4), r"conv_transpose2d in module '0'"),
        (nn.Sequential(nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect")), (2, 6, 6), "pad with another value"),
        (nn.Sequential(nn.AvgPool2d(3, 2, 1, count_include_pad=False)), (2, 6, 6), "leaves its padding out"),
        (nn.Sequential(nn.AdaptiveAvgPool2d(4)), (2, 6, 6), r"from \(6, 6\) to \(4, 4\), which have no whole ratio"),
        (nn.Sequential(nn.Upsample(scale_factor=2)), (2, 4, 4), r"upsample_nearest2d.* in module '0' \(Upsample\)"),
        (nn.BatchNorm1d(4, track_running_stats=False), (4, 3), "batch normalization without running statistics"),
        (nn.MaxPool2d(2, dilation=2), (2, 6, 6), "max_pool2d with dilation in the model"),
        (nn.AvgPool2d(2, divisor_override=3), (2, 6, 6), "avg_pool2d with a divisor in the model"),
        (nn.AvgPool2d(4, 3, ceil_mode=True), (2, 6, 6), "avg_pool2d with a rounded-up size in the model"),
        (nn.Conv2d(2, 2, 1), (2, 6), "over 2 dimensions|can't follow the model"),
        (Recurrent(), (6, 4), r"gru in module 'cell' \(GRU\)"),
        (Attention(), (6, 4), r"in module 'mix' \(MultiheadAttention\)"),
        (Branching(), (4,), r"torch.export can't follow the model"),
        (Product(), (3, 4), r"matmul of two activations in the model \(Product\)"),
        (OverExamples(), (4,), r"mean over the examples in the model \(OverExamples\)"),
        (Transposed(), (6, 4), r"the operator in module 'second' needs a transposition while running"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_the_operator_and_the_module_are_named(model, shape, message):
    inputs = torch.randn(8, *shape)
    with pytest.raises(Refusal, match=message):
        convert(model.eval(), Split((inputs[:1],)), INT8, Split((inputs,)))


def test_whole_numbers_are_refused():
    words = torch.zeros(4, 3, dtype=torch.int64)
    with pytest.raises(Refusal, match="an input of type int64 can't be quantized"):
        convert(nn.Embedding(5, 4).eval(), Split((words[:1],)), INT8, Split((words,)))


def test_there_must_be_examples_to_calibrate_with():
    inputs = torch.randn(1, 4)
    with pytest.raises(Refusal, match="needs calibration examples"):
        convert(nn.Linear(4, 2).eval(), Split((inputs,)), INT8, Split((inputs[:0],)))


def test_a_model_that_gives_infinities_is_refused():
    inputs = torch.randn(4, 4)
    model = nn.Linear(4, 2).eval()
    with torch.no_grad():
        model.weight[0, 0] = torch.inf
    with pytest.raises(Refusal, match="infinities or NaN"):
        convert(model, Split((inputs[:1],)), INT8, Split((inputs,)))


@pytest.mark.parametrize(
    ("encoding", "reason"),
    [
        (Encoding(), "scheme static, not float"),
        (Encoding(scheme="dynamic", weight_bits=8), "scheme static, not dynamic"),
        (Encoding(scheme="static", weight_bits=16), "8 or 4 bits, not in 16"),
        (Encoding(scheme="static", weight_bits=8, calibration="entropy"), "minmax or percentile, not entropy"),
        (Encoding(scheme="static", weight_bits=8, codebook=64), "at most 16 entries, not in 64"),
    ],
)
def test_encodings_without_kernels_are_refused(encoding, reason):
    assert reason in refused(encoding)
    inputs = torch.randn(4, 4)
    with pytest.raises(Refusal, match=reason):
        convert(nn.Linear(4, 2).eval(), Split((inputs[:1],)), encoding, Split((inputs,)))


def test_int8_and_int4_are_accepted():
    assert not refused(INT8)
    assert not refused(Encoding(scheme="static", weight_bits=4, calibration="percentile", codebook=16))
