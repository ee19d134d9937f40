"""Channel pruning: the coupled channels, the criteria, the widths that come out, and what it refuses."""

from __future__ import annotations

import copy
import functools
from dataclasses import replace

import pytest
import torch
from techniques.digit_workloads import Attention, Cnn, NoWeights, Transformer, mlp, train, workload_of
from torch import Tensor, nn
from torch.nn import functional

from autoshrink.core import Refusal
from autoshrink.models.evaluate import outputs, predict
from autoshrink.models.splits import Split
from autoshrink.models.workload import Workload
from autoshrink.techniques._torch.channels import coupled_channels, remove
from autoshrink.techniques._torch.gradients import fill_gradients
from autoshrink.techniques._torch.norms import recalibrate
from autoshrink.techniques.base import Context
from autoshrink.techniques.channel_pruning import ChannelPruning

CRITERIA = ["l1", "l2", "taylor", "hessian"]


@functools.cache
def trained_cnn() -> nn.Module:
    torch.manual_seed(0)
    return train(Cnn(), 4)


def prune(model: nn.Module, workload: Workload | None = None, **settings: object) -> nn.Module:
    technique = ChannelPruning.model_validate({"round_to": 1, **settings})
    return technique.apply(copy.deepcopy(model).eval(), Context(workload or workload_of(model)))


def widths(model: nn.Module) -> list[int]:
    return [len(m.weight) for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]


@torch.no_grad()
def silence(model: Cnn, share: float) -> None:
    """Let a share of every group of coupled channels carry nothing at all."""
    dead = int(16 * share)
    for norm in (model.stem[1], model.block1.norm1, model.block1.norm2):
        norm.weight[:dead] = norm.bias[:dead] = 0
    for norm in (model.block2.norm1, model.block2.norm2):
        norm.weight[: 2 * dead] = norm.bias[: 2 * dead] = 0
    model.block2.skip.weight[: 2 * dead] = 0
    model.block2.skip.bias[: 2 * dead] = 0
    model.depthwise.bias[: 2 * dead] = 0
    for conv in (model.stem[0], model.block1.conv1, model.block1.conv2):
        conv.weight[:dead] = 0
    for conv in (model.block2.conv1, model.block2.conv2):
        conv.weight[: 2 * dead] = 0


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("criterion", CRITERIA)
def test_dead_channels_go_first_and_nothing_changes(criterion: str, scope: str) -> None:
    model = copy.deepcopy(trained_cnn())
    silence(model, 0.25)
    workload = workload_of(model)
    calibrated = copy.deepcopy(model)
    recalibrate(calibrated, workload.calibration)  # as the pruned model will be
    pruned = prune(model, workload, ratio=0.25, criterion=criterion, scope=scope, reconstruct=False)
    assert pruned.head.in_features == 24
    torch.testing.assert_close(
        outputs(pruned, workload.validation), outputs(calibrated, workload.validation), atol=1e-3, rtol=1e-3
    )


def test_layers_lose_the_same_share_in_the_layer_scope() -> None:
    assert widths(prune(Cnn(), ratio=0.5, scope="layer")) == [8, 8, 8, 16, 16, 16, 16, 10]
    assert widths(prune(mlp(), ratio=0.25, scope="layer")) == [36, 24, 10]


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("ratio", [0.2, 0.5, 0.8])
def test_layers_compete_in_the_global_scope(ratio: float, steps: int) -> None:
    torch.manual_seed(0)
    model = mlp()
    hidden = widths(prune(model, ratio=ratio, steps=steps))[:-1]
    assert sum(hidden) == pytest.approx((1 - ratio) * 80, abs=1)


def test_no_layer_collapses_in_the_global_scope() -> None:
    torch.manual_seed(0)
    model = mlp()
    with torch.no_grad():
        model[3].weight[4:] *= 1e-6  # almost all of this layer looks unimportant
    first, second, _ = widths(prune(model, ratio=0.5, max_ratio=0.7))
    assert second >= 0.3 * 32
    assert first + second == 40


@pytest.mark.parametrize("round_to", [4, 8])
def test_widths_are_rounded(round_to: int) -> None:
    hidden = widths(prune(Cnn(), ratio=0.4, round_to=round_to))[:-1]
    assert all(width % round_to == 0 for width in hidden)
    assert sum(hidden) < 3 * 16 + 4 * 32


def test_rounding_never_widens_nor_empties() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 40), nn.ReLU(), nn.Linear(40, 10))
    assert widths(prune(model, ratio=0.9, scope="layer", round_to=8)) == [6, 8, 10]


def test_heads_of_attention_stay_equally_wide() -> None:
    pruned = prune(Transformer(), ratio=0.4, scope="layer")
    attention = pruned.encoder.layers[0].self_attn
    assert attention.embed_dim == pruned.embed.out_features == pruned.head.in_features == 10
    assert attention.head_dim * attention.num_heads == attention.embed_dim
    assert pruned.position.shape == (1, 8, 10)


@pytest.mark.parametrize("steps", [1, 2])
def test_widths_that_the_code_fixes_stay(steps: int) -> None:
    pruned = prune(Attention(), ratio=0.5, steps=steps, criterion="taylor")
    assert (pruned.qkv.in_features, pruned.qkv.out_features) == (16, 48)
    assert pruned.wide.out_features == 32


class Grouped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3)
        self.norm = nn.GroupNorm(4, 16)
        self.conv2 = nn.Conv2d(16, 16, 3, groups=2)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv2(functional.relu(self.norm(self.conv1(x)))).mean((2, 3)))


def test_groups_stay_equally_wide() -> None:
    pruned = prune(Grouped(), ratio=0.5, scope="layer")
    assert (pruned.conv1.out_channels, pruned.norm.num_channels) == (8, 8)
    assert (pruned.conv2.in_channels, pruned.conv2.groups, pruned.conv2.out_channels) == (8, 2, 8)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(12, 16)
        self.inner = nn.Linear(16, 32)
        self.outer = nn.Linear(32, 16)
        self.decode = nn.Linear(16, 12, bias=False)
        self.decode.weight = self.embed.weight

    def forward(self, tokens: Tensor, scale: Tensor) -> dict[str, Tensor]:
        hidden = self.embed(tokens)
        hidden = hidden + self.outer(functional.relu(self.inner(hidden))) * scale[:, None, None]
        return {"logits": self.decode(hidden).mean(1), "hidden": hidden}


def test_tied_weights_stay_tied_with_named_integer_inputs() -> None:
    tokens = torch.randint(0, 12, (40, 5), generator=torch.Generator().manual_seed(0))
    split = Split((tokens, torch.ones(40)), tokens[:, 0], ("tokens", "scale"))
    base = workload_of(Tied())
    workload = replace(base, train=split, validation=split, test=split, calibration=split)
    pruned = prune(workload.model, workload, ratio=0.5, criterion="hessian")
    assert pruned.decode.weight is pruned.embed.weight
    assert (pruned.inner.out_features, pruned.embed.embedding_dim) == (16, 16)
    assert predict(pruned, split).shape == (40, 12)


@pytest.mark.parametrize("task", ["classification", "label_free", "regression"])
@pytest.mark.parametrize("moment", ["first", "second"])
def test_gradients_say_something_for_every_task(task: str, moment: str) -> None:
    torch.manual_seed(0)
    model = mlp()
    workload = workload_of(model)
    labels = {"classification": workload.train.labels, "label_free": None, "regression": outputs(model, workload.train)}
    workload = replace(workload, task=task, train=replace(workload.train, labels=labels[task]))
    fill_gradients(model, workload, moment, seed=0)
    assert all(float(parameter.grad.max()) > 0 for parameter in model.parameters())


def test_gradients_come_from_the_calibration_data_where_there_is_no_other() -> None:
    model = mlp()
    workload = replace(workload_of(model), train=None)
    assert sum(widths(prune(model, workload, ratio=0.5, criterion="taylor"))) == 50


def test_criteria_differ() -> None:
    model = trained_cnn()
    states = [prune(model, ratio=0.5, criterion=criterion, scope="layer").state_dict() for criterion in CRITERIA]
    kernels = [state["block2.conv1.weight"] for state in states]
    assert all(not torch.equal(a, b) for i, a in enumerate(kernels) for b in kernels[:i])


def test_statistics_of_norms_fit_the_pruned_model() -> None:
    model = trained_cnn()
    workload = workload_of(model)
    labels = workload.validation.labels.numpy()
    pruned = prune(model, workload, ratio=0.25)
    recovered = workload.score(predict(pruned, workload.validation), labels)
    for norm in pruned.modules():  # as the original has them
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean *= 0.7
            norm.running_var *= 1.5
    assert recovered > workload.score(predict(pruned, workload.validation), labels)


class Opaque(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.flatten(1)).detach()


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(8, 16, batch_first=True)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x.squeeze(1))[0][:, -1])


class Concat(nn.Module):
    """Concatenations, and a flattening of channels and positions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 3, padding=1)
        self.conv2 = nn.Conv2d(12, 8, 3, padding=1)
        self.up = nn.ConvTranspose2d(20, 6, 2, 2)
        self.norm = nn.BatchNorm2d(6)
        self.head = nn.Linear(6 * 16, 10)

    def forward(self, x: Tensor) -> Tensor:
        first = functional.relu(self.conv1(x))
        both = torch.cat((first, functional.relu(self.conv2(first))), 1)
        return self.head(functional.max_pool2d(self.norm(self.up(both)), 4).flatten(1))


class Halves(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Linear(64, 48)
        self.head = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.wide(x.flatten(1)).chunk(2, 1)
        return self.head(torch.maximum(left, right))


class Shuffled(nn.Module):
    """Channels become positions, which the dependency graph does not know."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(1, 32, 3, padding=1)
        self.shuffle = nn.PixelShuffle(2)
        self.inner = nn.Conv2d(8, 16, 3)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(functional.relu(self.inner(self.shuffle(self.wide(x)))).mean((2, 3)))


@pytest.mark.parametrize("build", [Cnn, Concat, Halves, Shuffled, Grouped, mlp])
def test_removing_channels_is_ignoring_them(build: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model = build().eval()
    example = workload_of(model).validation.rows(slice(0, 8))
    graph, groups = coupled_channels(model, example)
    assert groups
    for index, channels in enumerate(groups):
        ignoring, pruned = copy.deepcopy(model), copy.deepcopy(model)
        units = list(range(0, channels.units, 3))
        dropped = [unit + head * channels.units for head in range(channels.heads) for unit in units]
        root = channels.group[0].dep
        for dep, indices in graph.get_pruning_group(root.target.module, root.handler, dropped):
            if dep.handler.__name__ == "prune_in_channels" and dep.target.name.split(" ")[0] in dict(
                model.named_modules()
            ):
                layer = ignoring.get_submodule(dep.target.name.split(" ")[0])
                with torch.no_grad():
                    if isinstance(layer, nn.ConvTranspose2d):
                        layer.weight[indices] = 0
                    elif getattr(layer, "groups", 1) == 1:
                        layer.weight[:, indices] = 0
                    else:
                        layer.weight[:, [i for i in indices if i < layer.weight.shape[1]]] = 0
        other_graph, same = coupled_channels(pruned, example)
        remove(other_graph, same[index], units)
        if any(isinstance(dep.target.module, nn.GroupNorm) for dep, _ in channels.group):
            assert outputs(pruned, example).shape == (8, 10)  # its statistics are over channels
        else:
            torch.testing.assert_close(outputs(pruned, example), outputs(ignoring, example), atol=1e-5, rtol=1e-4)


class Picky(nn.Module):
    """Works at one width only, and checks it where no module shows."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(64, 32)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.inner(x.flatten(1))
        if x.shape[1] != 32:
            raise ValueError("32 features, please")
        return self.head(x)


REFUSED = {
    "fixed everywhere": (Picky(), {}, "no layer's width can change"),
    "no weights": (NoWeights(), {}, "no gradient flows from the outputs"),
    "no gradient": (Opaque(), {}, "no gradient flows from the outputs"),
    "only the output layer": (nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), {}, "no layer's width can change"),
    "recurrent": (Recurrent(), {}, "no layer's width can change"),
    "too little": (mlp(), {"ratio": 0.02, "round_to": 16}, r"removes no channel when widths \(.*\) are rounded.* 16"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_with_a_reason(name: str) -> None:
    model, settings, reason = REFUSED[name]
    with pytest.raises(Refusal, match=reason):
        prune(model, **{"ratio": 0.5, **settings})


def test_layers_around_a_recurrent_one_are_pruned() -> None:
    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(8, 8)
            self.rnn = nn.GRU(8, 12, batch_first=True)
            self.inner = nn.Linear(12, 32)
            self.head = nn.Linear(32, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(functional.relu(self.inner(self.rnn(self.embed(x.squeeze(1)))[0][:, -1])))

    pruned = prune(Around(), ratio=0.5)
    assert (pruned.rnn.input_size, pruned.rnn.hidden_size, pruned.inner.out_features) == (8, 12, 16)


def test_the_output_layer_and_the_inputs_are_never_groups() -> None:
    model = Cnn().eval()
    _, groups = coupled_channels(model, workload_of(model).example)
    assert "head" not in {group.root for group in groups}
    assert {group.size for group in groups} == {16, 32}
