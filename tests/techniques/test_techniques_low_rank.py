"""Low rank: exact where the rank is there, cheaper always, and the ranks as asked for."""

from __future__ import annotations

import copy
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from techniques.digit_workloads import Cnn, NoWeights, Transformer, mlp, workload_of
from torch import Tensor, nn

from autoshrink.core import Refusal
from autoshrink.models.counting import count
from autoshrink.models.evaluate import outputs
from autoshrink.models.splits import Split
from autoshrink.techniques._torch.factors import Layer, LowRankLinear, called_layers, factorize
from autoshrink.techniques.base import Context
from autoshrink.techniques.low_rank import LowRank

CONVOLUTIONS = {
    "plain": nn.Conv2d(16, 24, 3),
    "strided, dilated, padded": nn.Conv2d(16, 24, 3, stride=2, dilation=2, padding=2),
    "padded by reflection": nn.Conv2d(16, 24, 3, padding=1, padding_mode="reflect"),
    "of one dimension": nn.Conv1d(16, 24, 5, padding="same"),
    "of three dimensions": nn.Conv3d(16, 24, 3, bias=False),
    "pointwise": nn.Conv2d(16, 24, 1),
}


def compress(model: nn.Module, **settings: object) -> nn.Module:
    technique = LowRank.model_validate(settings)
    return technique.apply(copy.deepcopy(model).eval(), Context(workload_of(model)))


def keep(rank: int) -> object:
    return lambda values: rank


@torch.no_grad()
def lower(weight: Tensor, rank: int) -> None:
    """Give a weight a low rank between its outputs, and between its inputs."""
    rows = torch.randn(len(weight), rank) @ torch.randn(rank, len(weight))
    columns = torch.randn(weight.shape[1], rank) @ torch.randn(rank, weight.shape[1])
    weight.copy_(torch.einsum("ro,oi...,is->rs...", rows, weight, columns))
    weight /= weight.abs().max()


@pytest.mark.parametrize("decomposition", ["tucker", "svd"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_of_low_rank_are_factorized_exactly(name: str, decomposition: str) -> None:
    torch.manual_seed(0)
    conv = copy.deepcopy(CONVOLUTIONS[name])
    lower(conv.weight, 3)
    x = torch.randn(2, 16, *[9] * (conv.weight.dim() - 2))
    wanted = conv(x)
    factors = factorize(Layer("", conv, x[0, 0].numel(), wanted[0, 0].numel()), decomposition, keep(3))
    assert factors is not None
    torch.testing.assert_close(factors(x), wanted, atol=1e-4, rtol=1e-4)
    tucker = decomposition == "tucker" and name != "pointwise"
    assert len(factors) == (3 if tucker else 2)


def test_linear_layers_of_low_rank_are_factorized_exactly() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(40, 30)
    lower(linear.weight, 4)
    factors = factorize(Layer("", linear, 1, 1), "svd", keep(4))
    assert isinstance(factors, LowRankLinear)
    x = torch.randn(5, 40)
    torch.testing.assert_close(factors(x), linear(x), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(factors.weight, linear.weight, atol=1e-4, rtol=1e-4)
    assert torch.equal(factors.bias, linear.bias)


def test_the_error_is_that_of_the_best_approximation() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(40, 30)
    factors = factorize(Layer("", linear, 1, 1), "svd", keep(7))
    values = np.linalg.svd(linear.weight.detach().numpy(), compute_uv=False)
    error = float((factors.weight - linear.weight).detach().norm())
    assert error == pytest.approx(math.sqrt(float((values[7:] ** 2).sum())), rel=1e-4)


@pytest.mark.parametrize("energy", [0.3, 0.8, 0.95, 1.0])
def test_energy_is_reached_with_the_lowest_rank(energy: float) -> None:
    values = torch.tensor([4.0, 2.0, 2.0, 1.0, 0.5]).double()
    rank = LowRank(energy=energy)._rank(values)
    shares = (values.square().cumsum(0) / values.square().sum()).tolist()
    assert shares[rank - 1] >= energy - 1e-12
    assert rank == 1 or shares[rank - 2] < energy


def test_rank_ratio_is_a_share_of_the_full_rank() -> None:
    values = torch.ones(10)
    assert [LowRank(rank_ratio=ratio)._rank(values) for ratio in (0.01, 0.25, 0.5, 1)] == [1, 3, 5, 10]


@pytest.mark.parametrize("decomposition", ["tucker", "svd"])
@pytest.mark.parametrize("build", [Cnn, mlp, Transformer])
def test_more_rank_costs_more_and_never_more_than_the_original(build: type[nn.Module], decomposition: str) -> None:
    torch.manual_seed(0)
    model = build().eval()
    example = workload_of(model).example
    counts = [
        count(compress(model, rank_ratio=ratio, decomposition=decomposition), example) for ratio in (0.1, 0.3, 0.5)
    ]
    counts.append(count(model, example))
    for fewer, more in itertools.pairwise(counts):
        assert fewer["macs"] < more["macs"]
        assert fewer["parameters"] < more["parameters"]


def test_a_layer_is_factorized_only_where_weights_and_multiplications_get_fewer() -> None:
    # Its 1×1 part runs on 64 times as many positions as its outputs have.
    conv = nn.Conv2d(64, 64, 3, stride=8)
    assert factorize(Layer("", conv, 4096, 64), "tucker", keep(16)) is None
    assert factorize(Layer("", conv, 4096, 64), "svd", keep(16)) is not None
    assert factorize(Layer("", nn.Linear(20, 20), 1, 1), "svd", keep(10)) is None


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(64, 96)
        self.attention = nn.MultiheadAttention(32, 2, batch_first=True)
        self.grouped = nn.Conv1d(32, 32, 3, padding=1, groups=2)
        self.shared = nn.Linear(32, 32)
        self.copy = nn.Linear(32, 32)
        self.copy.weight = self.shared.weight
        self.unused = nn.Linear(32, 32)
        self.own = Doubled(32, 32)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x.flatten(1)).view(len(x), 3, 32)
        x = self.attention(x, x, x)[0]
        x = self.grouped(x.transpose(1, 2)).transpose(1, 2)
        return self.head(self.own(self.copy(self.shared(x))).mean(1))


class Doubled(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def test_only_what_can_be_replaced_is() -> None:
    model = Mixed().eval()
    names = [layer.name for layer in called_layers(model, workload_of(model).example)]
    # The input layer is most of the model, the classifier is a minor end of it.
    assert names == ["embed"]


def test_thin_ends_of_a_model_keep_their_rank() -> None:
    model = Transformer().eval()
    names = {layer.name for layer in called_layers(model, workload_of(model).example)}
    assert names == {f"encoder.layers.{layer}.linear{i}" for layer in (0, 1) for i in (1, 2)}


def test_stock_encoder_layers_run_with_and_without_their_fused_kernel() -> None:
    torch.manual_seed(0)
    model = compress(Transformer(), rank_ratio=0.4)
    x = workload_of(model).validation
    assert isinstance(model.encoder.layers[0].linear1, LowRankLinear)
    with_gradients = model(x.inputs[0])
    torch.testing.assert_close(outputs(model, x), with_gradients.detach(), atol=1e-5, rtol=1e-4)


def test_named_inputs() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp()

        def forward(self, *, image: Tensor) -> Tensor:
            return self.body(image)

    base = workload_of(Named())
    split = Split(base.validation.inputs, base.validation.labels, ("image",))
    workload = replace(base, validation=split, calibration=split)
    model = LowRank(rank_ratio=0.2).apply(copy.deepcopy(base.model), Context(workload))
    assert sum(isinstance(module, LowRankLinear) for module in model.modules()) == 2


@pytest.mark.parametrize("settings", [{}, {"rank_ratio": 0.5, "energy": 0.9}])
def test_wants_one_of_two_rules(settings: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=r"either 'rank_ratio'.*or 'energy'"):
        LowRank.model_validate(settings)


@pytest.mark.parametrize(
    ("model", "settings", "reason"),
    [
        (NoWeights(), {"rank_ratio": 0.5}, "none of 0 linear layers"),
        (mlp(), {"rank_ratio": 1.0}, "at rank_ratio 1 none of 2 linear layers and convolutions gets cheaper"),
        (mlp(), {"energy": 1.0}, "at energy 1 none of 2"),
    ],
)
def test_refuses_with_a_reason(model: nn.Module, settings: dict[str, float], reason: str) -> None:
    with pytest.raises(Refusal, match=reason):
        compress(model, **settings)
