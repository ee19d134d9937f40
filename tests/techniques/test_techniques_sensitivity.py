"""The sensitivity table, its predictions, and the layers that are worth more bits."""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from techniques.digit_workloads import MODELS, Cnn, NoWeights, mlp, train, workload_of
from torch import nn

from autoshrink.core import Encoding, LayerSensitivity, Option, Recipe, Sensitivity, Setting
from autoshrink.models.counting import count
from autoshrink.models.onnx.integers import quantize_blocks, quantize_weight
from autoshrink.models.workload import Workload
from autoshrink.techniques._torch.answers import Answers
from autoshrink.techniques._torch.factors import called_layers, factorize, replace
from autoshrink.techniques._torch.layer_losses import rank_reduced
from autoshrink.techniques._torch.precision import best_within, sensitive_layers
from autoshrink.techniques._torch.rounding import rounded
from autoshrink.techniques.pipeline import compress
from autoshrink.techniques.sensitivity import sensitivity_of


@pytest.fixture(scope="module")
def workload() -> Workload:
    torch.manual_seed(0)
    model = train(Cnn(), 3)
    model.zero_grad()
    return workload_of(model)


@pytest.fixture(scope="module")
def table(workload: Workload) -> Sensitivity:
    return sensitivity_of(workload, seed=0)


def test_a_table_lists_every_layer_with_what_it_costs(workload: Workload, table: Sensitivity) -> None:
    layers = {name: m for name, m in workload.model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    assert [layer.name for layer in table.layers] == list(layers)
    assert all(layer.weights == layers[layer.name].weight.numel() for layer in table.layers)
    assert all(layer.bytes == 4 * layer.weights for layer in table.layers)
    assert sum(layer.macs for layer in table.layers) == count(workload.model, workload.example)["macs"]
    assert table.workload == workload.key
    assert 0 < table.examples <= 64
    assert all(len(layer.choose("quantization", "per_channel")) == 2 for layer in table.layers)
    assert not table.layers[-1].choose("channel_pruning"), "the outputs keep their width"


def test_a_table_travels_as_json_and_is_the_same_again(workload: Workload, table: Sensitivity) -> None:
    assert Sensitivity.model_validate_json(table.model_dump_json()) == table
    again = sensitivity_of(workload, seed=0)
    assert again.model_copy(update={"seconds": table.seconds}) == table


def test_coupled_layers_share_their_channels_options(table: Sensitivity) -> None:
    by_name = {layer.name: layer for layer in table.layers}
    stream = [by_name[name] for name in ("stem.0", "block1.conv2")]
    assert stream[0].group == stream[1].group != ""
    assert stream[0].choose("channel_pruning") == stream[1].choose("channel_pruning")


def test_stronger_is_worse(table: Sensitivity) -> None:
    for layer in table.layers:
        eight, four = (option.loss for option in layer.choose("quantization", "per_channel"))
        assert eight < four
        pruning = [option.loss for option in layer.choose("channel_pruning")]
        assert not pruning or pruning[-1] > 3 * pruning[0]
        ranks = [option.loss for option in layer.choose("low_rank")]
        assert not ranks or ranks[-1] > ranks[0]


def test_the_workload_is_left_alone(workload: Workload) -> None:
    before = {name: value.clone() for name, value in workload.model.state_dict().items()}
    sensitivity_of(workload)
    assert all(torch.equal(before[name], value) for name, value in workload.model.state_dict().items())
    assert all(parameter.grad is None for parameter in workload.model.parameters())
    assert not workload.model.training


@pytest.mark.parametrize("model", MODELS)
def test_every_kind_of_model_has_a_table(model: str) -> None:
    found = sensitivity_of(workload_of(MODELS[model]()))
    assert found.layers
    assert all(option.loss >= 0 for layer in found.layers for option in layer.options)


def test_a_model_without_weights_has_an_empty_table() -> None:
    assert sensitivity_of(workload_of(NoWeights())).layers == ()


def test_a_lower_rank_is_that_of_the_technique(workload: Workload) -> None:
    model = copy.deepcopy(workload.model)
    answers = Answers(copy.deepcopy(model), workload.calibration, "classification", norms=True)
    losses = dict(rank_reduced(model, workload.example, answers, (0.4,)))
    compared = 0
    for layer in called_layers(workload.model, workload.example):
        factors = factorize(layer, "tucker", lambda values: max(1, math.floor(0.4 * len(values) + 0.5)))
        if factors is not None:
            replaced = copy.deepcopy(workload.model)
            replace(replaced, layer.name, factors)
            assert losses[layer.name][0].loss == pytest.approx(answers.distance(replaced.eval()), rel=1e-2, abs=1e-6)
            compared += 1
    assert compared >= 3


def test_rounding_is_nearly_that_of_the_backends() -> None:
    weight = torch.randn(12, 8, 3, 3, generator=torch.Generator().manual_seed(0))
    integers, scales = quantize_weight(weight.numpy(), 0)
    np.testing.assert_allclose(rounded(weight, 8).numpy(), integers * scales[:, None, None, None], atol=1e-6)
    blocks, steps = quantize_blocks(weight.reshape(-1, 24).numpy(), 4)
    exact = np.square(blocks * steps.astype(np.float32) - weight.reshape(-1, 24).numpy()).sum()
    ours = float((rounded(weight, 4, 32) - weight).square().sum())
    assert ours == pytest.approx(exact, rel=0.05)


def one_layer(name: str, losses: list[float], group: str = "") -> LayerSensitivity:
    options = tuple(Option(kind="channel_pruning", value=(i + 1) / 10, loss=loss) for i, loss in enumerate(losses))
    return LayerSensitivity(name=name, type="Conv2d", weights=100, macs=100, group=group, options=options)


def test_predictions_count_a_coupled_group_once() -> None:
    layers = (one_layer("a", [0.1, 0.3], "a"), one_layer("b", [0.1, 0.3], "a"), one_layer("c", [0.2, 0.1], "c"))
    found = Sensitivity(workload="k", base_loss=0.1, examples=8, seconds=0.1, layers=layers)
    assert found.increase("channel_pruning", 0.1) == pytest.approx(0.3)
    assert found.increase("channel_pruning", 0.2) == pytest.approx(0.5)  # never less for more
    assert found.increase("channel_pruning", 0.15) == pytest.approx(0.4)
    assert found.increase("channel_pruning", 0.05) == pytest.approx(0.15)
    assert found.reach("channel_pruning", 0.4, 0.0, 0.9) == pytest.approx(0.15, abs=1e-6)
    assert found.reach("channel_pruning", 9.0, 0.1, 0.2) == pytest.approx(0.2)
    assert found.reach("low_rank", 0.4, 0.1, 0.9) is None


@given(
    st.lists(st.tuples(st.floats(0, 10), st.integers(1, 50)), min_size=1, max_size=8),
    st.floats(0, 1),
)
@settings(max_examples=80, deadline=None)
def test_the_knapsack_is_the_best_there_is(items: list[tuple[float, int]], share: float) -> None:
    values, costs = [value for value, _ in items], [float(cost) for _, cost in items]
    capacity = share * sum(costs)
    chosen = best_within(values, costs, capacity)
    assert sum(costs[i] for i in chosen) <= capacity + 1e-6
    # Costs are rounded up to a 4096th of the capacity: what fits with a little less room is never missed.
    tight = capacity * (1 - len(items) / 4096)
    subsets = itertools.chain.from_iterable(itertools.combinations(range(len(items)), n) for n in range(len(items) + 1))
    best = max(sum(values[i] for i in subset) for subset in subsets if sum(costs[i] for i in subset) <= tight)
    assert sum(values[i] for i in chosen) >= best - 1e-9


def test_the_layer_that_rounding_breaks_is_kept() -> None:
    torch.manual_seed(0)
    model = train(mlp(), 3)
    with torch.no_grad():  # one weight of 20 times the others' size in each row takes the grid of 4 bits for itself
        model.get_submodule("3").get_parameter("weight")[:, 0] *= 20
        model.get_submodule("1").get_parameter("weight")[0] /= 20
        model.get_submodule("1").get_parameter("bias")[0] /= 20
    data = workload_of(model)
    assert sensitive_layers(model, data, 0.35, lambda w: rounded(w, 4), inputs=False) == ("3",)
    assert sensitive_layers(model, data, 0.0, lambda w: rounded(w, 4), inputs=False) == ()


QUANTIZED = {"kind": "quantization", "weight_bits": 4, "scheme": "weight_only", "sensitive_share": 0.3}


@pytest.mark.parametrize(
    ("change", "kept"),
    [({}, True), ({"sensitive_share": 0.0}, False), ({"weight_bits": 16}, False), ({"weight_bits": 8}, True)],
)
def test_a_recipe_keeps_layers_within_its_share(workload: Workload, change: dict[str, object], kept: bool) -> None:
    encoding = compress(Recipe(steps=(Setting.model_validate({**QUANTIZED, **change}),)), workload, 0).encoding
    assert bool(encoding.kept) == kept
    numbers = {name: workload.model.get_submodule(name).get_parameter("weight").numel() for name in encoding.kept}
    total = sum(m.weight.numel() for m in workload.model.modules() if isinstance(m, nn.Conv2d | nn.Linear))
    assert sum(numbers.values()) <= 0.3 * total


def test_training_rounds_kept_layers_to_8_bits(workload: Workload) -> None:
    steps = (
        Setting.model_validate({"kind": "distillation", "epochs": 1}),
        Setting.model_validate({**QUANTIZED, "scheme": "static", "qat_epochs": 1}),
    )
    result = compress(Recipe(steps=steps), workload, 0)
    assert result.encoding.kept
    for name, module in result.model.named_modules():
        if isinstance(module, nn.Conv2d):
            levels = max(len(row.unique()) for row in module.weight.detach().flatten(1))
            assert (levels > 15) == (name in result.encoding.kept and module.weight[0].numel() > 15)


def test_an_encoding_says_how_many_layers_are_higher() -> None:
    assert Encoding(scheme="static", weight_bits=4, kept=("a", "b")).describe() == "static int4, layers kept higher: 2"
