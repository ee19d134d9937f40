"""Weight sharing: the clusters, the values that are left, and the fine-tuning of the centroids."""

from __future__ import annotations

import copy
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from techniques.digit_workloads import Cnn, NoWeights, Transformer, mlp, train, workload_of
from torch import Tensor, nn

from autoshrink.core import Encoding, Recipe, Refusal, Setting, Step
from autoshrink.models.evaluate import outputs
from autoshrink.models.recovery import Recovery
from autoshrink.techniques._torch.codebooks import cluster
from autoshrink.techniques._torch.layers import bake, weights
from autoshrink.techniques._torch.norms import fold
from autoshrink.techniques.base import Context
from autoshrink.techniques.pipeline import compress
from autoshrink.techniques.weight_sharing import WeightSharing


def share(model: nn.Module, recovery: Recovery | None = None, **settings: object) -> nn.Module:
    technique = WeightSharing.model_validate(settings)
    return bake(technique.apply(copy.deepcopy(model).eval(), Context(workload_of(model), recovery)))


@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=300), st.integers(1, 40))
def test_each_value_is_with_the_nearest_centroid(values: list[float], entries: int) -> None:
    given = torch.tensor(values)
    centroids, indices = cluster(given, entries)
    assert 1 <= len(centroids) <= min(entries, len(given.unique()))
    assert torch.equal(centroids, centroids.sort().values)
    distances = (given[:, None] - centroids).abs()
    # A value halfway between two centroids may be with either.
    torch.testing.assert_close(distances.gather(1, indices[:, None]).squeeze(1), distances.min(1).values)
    assert set(indices.tolist()) == set(range(len(centroids)))


@given(st.lists(st.floats(-10, 10, width=16), min_size=1, max_size=50))
def test_few_values_are_their_own_centroids(values: list[float]) -> None:
    given = torch.tensor(values)
    centroids, indices = cluster(given, 50)
    assert torch.equal(centroids[indices], given)


@pytest.mark.parametrize("entries", [16, 64, 256])
def test_a_centroid_is_the_mean_of_its_values_and_beats_a_uniform_grid(entries: int) -> None:
    values = torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    centroids, indices = cluster(values, entries)
    means = torch.zeros(len(centroids)).index_add(0, indices, values) / torch.bincount(indices)
    spacing = float(centroids.diff().min())
    torch.testing.assert_close(means, centroids, atol=0.5 * spacing, rtol=0)
    step = float(values.max() - values.min()) / entries
    uniform = ((values / step).round() * step - values).square().mean()
    assert (centroids[indices] - values).square().mean() < 0.6 * uniform


def test_clustering_three_hundred_thousand_weights_takes_less_than_half_a_second() -> None:
    values = torch.randn(300_000, generator=torch.Generator().manual_seed(0))
    seconds = []
    for _ in range(3):
        begun = time.process_time()
        cluster(values, 256)
        seconds.append(time.process_time() - begun)
    assert min(seconds) < 0.5


@pytest.mark.parametrize("entries", [16, 40, 256])
@pytest.mark.parametrize("build", [Cnn, mlp, Transformer])
def test_large_weights_take_few_values(build: type[nn.Module], entries: int) -> None:
    torch.manual_seed(0)
    model = build()
    for weight in weights(share(model, entries=entries)):
        count = weight.tensor.numel()
        wanted = entries if WeightSharing(entries=entries)._saves(count) else count
        assert len(weight.tensor.unique()) <= wanted, weight.name


def test_zeros_stay_zeros_and_count_as_an_entry() -> None:
    torch.manual_seed(0)
    model = mlp()
    with torch.no_grad():
        model[1].weight[model[1].weight.abs() < 0.05] = 0
    zeros = model[1].weight == 0
    shared = share(model, Recovery(learning_rate=1e-2), entries=16, epochs=2)
    assert zeros.any()
    assert torch.equal(shared[1].weight == 0, zeros)
    assert len(shared[1].weight.unique()) <= 16


def test_pruned_weights_stay_pruned_through_the_whole_recipe() -> None:
    torch.manual_seed(0)
    workload = workload_of(mlp())
    steps = [
        {"kind": "magnitude_pruning", "sparsity": 0.7},
        {"kind": "distillation", "epochs": 1},
        {"kind": "weight_sharing"},
    ]
    model = compress(Recipe(steps=tuple(map(Setting.model_validate, steps))), workload).model
    sparse = [float((weight.tensor == 0).float().mean()) for weight in weights(model)]
    assert max(sparse) > 0.7
    assert all(len(weight.tensor.unique()) <= 16 for weight in weights(model))


def test_centroids_are_trained_and_ties_hold() -> None:
    model = train(mlp(), 3)
    workload = workload_of(model)
    with torch.no_grad():
        for layer in (model[1], model[3]):
            layer.weight += 0.05 * torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(0))
    still, trained = (share(model, Recovery(), epochs=epochs) for epochs in (0, 3))
    teacher = outputs(workload.model, workload.train)
    for one, other in zip(weights(still), weights(trained), strict=True):
        values, index = one.tensor.unique(return_inverse=True)
        assert not torch.equal(one.tensor, other.tensor)
        for entry in range(len(values)):
            assert len(other.tensor[index == entry].unique()) == 1
    loss = nn.functional.cross_entropy
    labels = workload.train.labels
    assert loss(outputs(trained, workload.train), labels) < loss(outputs(still, workload.train), labels)
    assert teacher.shape == (256, 10)


def test_nothing_is_trained_without_a_recovery_step() -> None:
    torch.manual_seed(0)
    model = mlp()
    assert all(
        torch.equal(one, other)
        for one, other in zip(
            share(model, epochs=5).parameters(), share(model, Recovery(), epochs=0).parameters(), strict=True
        )
    )


def test_norms_are_folded_and_the_model_computes_the_same() -> None:
    model = train(Cnn(), 1)
    workload = workload_of(model)
    folded = fold(copy.deepcopy(model), workload.example)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    torch.testing.assert_close(
        outputs(folded, workload.validation), outputs(model, workload.validation), atol=1e-4, rtol=1e-4
    )


class UsedTwice(nn.Module):
    """A convolution whose output is used beside its norm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 3)
        self.norm = nn.BatchNorm2d(16)
        self.head = nn.Linear(16, 10)
        nn.init.normal_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.head((x + self.norm(x)).mean((2, 3)))


def test_a_norm_that_can_not_be_folded_stays() -> None:
    model = UsedTwice().eval()
    workload = workload_of(model)
    folded = fold(copy.deepcopy(model), workload.example)
    assert isinstance(folded.norm, nn.BatchNorm2d)
    assert torch.equal(outputs(folded, workload.validation), outputs(model, workload.validation))


def test_is_drawn_only_where_the_backend_stores_codebooks() -> None:
    class First:
        def choice(self, name: str, values: tuple[object, ...]) -> object:
            return values[-1]

    step = Step.model_validate({"kind": "weight_sharing", "optional": True, "entries": [16, 64]})

    def refuses(encoding: Encoding) -> str:
        return "no codebooks" if encoding.codebook else ""

    assert WeightSharing.draw(step, First(), refuses) is None
    drawn = WeightSharing.draw(step, First(), lambda encoding: "")
    assert drawn is not None
    assert drawn.params == {"entries": 64}


@pytest.mark.parametrize("model", [NoWeights(), nn.Sequential(nn.Flatten(), nn.Linear(64, 1))])
def test_refuses_where_nothing_would_be_saved(model: nn.Module) -> None:
    with pytest.raises(Refusal, match="no layer is so large that a codebook of 256 would save bytes"):
        share(model, entries=256)
