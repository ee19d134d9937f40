"""Magnitude pruning: which weights become zero, and that they stay so."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from techniques.digit_workloads import Cnn, NoWeights, Transformer, mlp, workload_of
from torch import nn

from autoshrink.core import Recipe, Refusal, Setting
from autoshrink.techniques._torch.layers import bake, weights
from autoshrink.techniques._torch.masks import two_of_four, unstructured
from autoshrink.techniques.base import Context
from autoshrink.techniques.magnitude_pruning import MagnitudePruning
from autoshrink.techniques.pipeline import compress

tensors = st.lists(st.integers(2, 40), min_size=1, max_size=4).flatmap(
    lambda sizes: st.tuples(*(st.lists(st.integers(-9, 9), min_size=n, max_size=n) for n in sizes))
)


def prune(model: nn.Module, **settings: object) -> nn.Module:
    technique = MagnitudePruning.model_validate(settings)
    return bake(technique.apply(copy.deepcopy(model).eval(), Context(workload_of(model))))


@given(tensors, st.floats(0.01, 0.99))
def test_the_smallest_are_masked(values: tuple[list[int], ...], sparsity: float) -> None:
    given = [torch.tensor(part, dtype=torch.float32) for part in values]
    masks = unstructured(given, sparsity)
    kept = torch.cat([part[mask].abs() for part, mask in zip(given, masks, strict=True)])
    dropped = torch.cat([part[~mask].abs() for part, mask in zip(given, masks, strict=True)])
    total = len(kept) + len(dropped)
    # One weight of each tensor stays, however small it is.
    assert all(mask.any() for mask in masks)
    assert round(sparsity * total) - len(given) <= len(dropped) <= round(sparsity * total)
    spared = sorted(kept.tolist())[len(given) :]
    assert not len(dropped) or not spared or float(dropped.max()) <= spared[0]


@given(st.integers(1, 5), st.integers(1, 4), st.sampled_from([(), (3,), (3, 3)]), st.integers(0, 99))
def test_two_of_every_four_inputs_stay(outputs: int, fours: int, kernel: tuple[int, ...], seed: int) -> None:
    weight = torch.randn(outputs, 4 * fours, *kernel, generator=torch.Generator().manual_seed(seed))
    mask = two_of_four(weight)
    groups, magnitudes = (t.movedim(1, -1).reshape(-1, 4) for t in (mask, weight.abs()))
    assert (groups.sum(1) == 2).all()
    largest = magnitudes.sort(1, descending=True).values[:, :2].sum(1)
    torch.testing.assert_close((magnitudes * groups).sum(1), largest)


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("build", [Cnn, mlp, Transformer])
def test_the_asked_share_of_weights_is_zero(build: type[nn.Module], scope: str) -> None:
    torch.manual_seed(0)
    pruned = weights(prune(build(), sparsity=0.6, scope=scope))
    shares = [float((weight.tensor == 0).float().mean()) for weight in pruned]
    sizes = [weight.tensor.numel() for weight in pruned]
    assert sum(a * b for a, b in zip(shares, sizes, strict=True)) / sum(sizes) == pytest.approx(0.6, abs=0.01)
    assert (max(shares) - min(shares) < 0.1) == (scope == "layer")


def test_attention_is_pruned_and_norms_and_biases_are_not() -> None:
    torch.manual_seed(0)
    model = Transformer()
    nn.init.normal_(model.encoder.layers[0].linear1.bias)
    pruned = prune(model, sparsity=0.9)
    layer = pruned.encoder.layers[0]
    assert (layer.self_attn.in_proj_weight == 0).float().mean() > 0.5
    assert (layer.linear1.bias != 0).all()
    assert (layer.norm1.weight != 0).all()


def test_two_of_four_leaves_layers_alone_that_do_not_fit() -> None:
    pruned = prune(Cnn(), pattern="2:4")
    shares = {w.name: float((w.tensor == 0).float().mean()) for w in weights(pruned)}
    assert (shares["stem.0"], shares["depthwise"]) == (0, 0)  # one input channel each
    assert (shares["block1.conv1"], shares["head"]) == (0.5, 0.5)


@pytest.mark.parametrize("settings", [{"sparsity": 0.7}, {"pattern": "2:4"}])
def test_zeros_stay_while_the_model_is_trained(settings: dict[str, object]) -> None:
    torch.manual_seed(0)
    workload = workload_of(Cnn())
    pruning = Setting.model_validate({"kind": "magnitude_pruning", **settings})
    distillation = Setting.model_validate({"kind": "distillation", "epochs": 2})
    before = compress(Recipe(steps=(pruning,)), workload)
    after = compress(Recipe(steps=(pruning, distillation)), workload)
    for one, other in zip(weights(before.model), weights(after.model), strict=True):
        assert not other.tensor[one.tensor == 0].any()
        assert not torch.equal(one.tensor, other.tensor)


@pytest.mark.parametrize(
    ("model", "settings", "reason"),
    [
        (NoWeights(), {}, "whose weights could be zeroed"),
        (
            nn.Sequential(nn.Flatten(), nn.Unflatten(1, (1, 64)), nn.Conv1d(1, 4, 3)),
            {"pattern": "2:4"},
            "multiple of 4",
        ),
        (nn.ConvTranspose2d(1, 4, 2), {"pattern": "2:4"}, "multiple of 4"),
    ],
)
def test_refuses_with_a_reason(model: nn.Module, settings: dict[str, object], reason: str) -> None:
    with pytest.raises(Refusal, match=reason):
        prune(model, **settings)
