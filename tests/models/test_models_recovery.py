"""Recovery: the loss as it is written down, and the training that brings a compressed model back."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize

from autoshrink.core import Refusal
from autoshrink.models.evaluate import outputs, predict
from autoshrink.models.losses import distillation_loss, task_loss
from autoshrink.models.recovery import Recovery, recover
from autoshrink.models.splits import Split
from autoshrink.models.workload import Workload, load_workload
from autoshrink.techniques.base import Context
from autoshrink.techniques.distillation import Distillation


def workload_of(model: nn.Module, inputs: tuple[torch.Tensor, ...], labels: torch.Tensor | None, **change) -> Workload:
    split = Split(inputs, labels, change.pop("names", ()))
    task = change.pop("task", "classification")
    return Workload(model.eval(), split, split, split, split, lambda o, y: 0.0, task, "key", **change)


def net(inputs: int = 6, outputs: int = 3, width: int = 8) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(width, outputs))


@pytest.fixture
def blobs() -> Workload:
    """An original that has learned three classes well, with its 600 examples."""
    torch.manual_seed(0)
    x = torch.randn(600, 6)
    y = x[:, :3].argmax(1)
    model = nn.Sequential(nn.Linear(6, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return workload_of(model, (x,), y)


def accuracy(model: nn.Module, workload: Workload) -> float:
    return float((predict(model, workload.test).argmax(1) == workload.test.labels.numpy()).mean())


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_loss_is_the_one_that_is_written_down(alpha: float, temperature: float) -> None:
    rng = np.random.default_rng(0)
    student, teacher, labels = rng.normal(size=(5, 4)), rng.normal(size=(5, 4)), rng.integers(0, 4, 5)

    def softmax(logits: np.ndarray) -> np.ndarray:
        e = np.exp(logits)
        return e / e.sum(1, keepdims=True)

    cross_entropy = -np.log(softmax(student)[np.arange(5), labels]).mean()
    p, q = softmax(student / temperature), softmax(teacher / temperature)
    divergence = (p * np.log(p / q)).sum(1).mean()
    expected = alpha * cross_entropy + (1 - alpha) * temperature**2 * divergence
    tensors = [torch.from_numpy(array) for array in (student, teacher, labels)]
    assert distillation_loss(*tensors, "classification", alpha, temperature).item() == pytest.approx(expected)
    soft = distillation_loss(*tensors[:2], None, "label_free", alpha, temperature)
    assert soft.item() == pytest.approx(temperature**2 * divergence)


def test_a_regression_has_squared_errors_in_both_terms() -> None:
    student, teacher, labels = torch.randn(3, 5, 2).unbind()
    loss = distillation_loss(student, teacher, labels, "regression", 0.25, 4.0)
    mse = functional.mse_loss
    assert loss.item() == pytest.approx(0.25 * mse(student, labels).item() + 0.75 * mse(student, teacher).item())


@pytest.mark.parametrize("last", [True, False])
def test_classes_may_stand_last_or_second(last: bool) -> None:
    student, teacher, labels = torch.randn(2, 7, 4), torch.randn(2, 7, 4), torch.randint(0, 4, (2, 7))
    flat = distillation_loss(student.flatten(0, 1), teacher.flatten(0, 1), labels.flatten(), "classification", 0.5, 2)
    if not last:
        student, teacher = student.movedim(2, 1), teacher.movedim(2, 1)
    assert torch.allclose(distillation_loss(student, teacher, labels, "classification", 0.5, 2), flat)


def test_without_labels_the_task_loss_still_has_a_gradient() -> None:
    logits = torch.randn(6, 3, requires_grad=True)
    task_loss(logits, None, "label_free").backward()
    assert logits.grad.abs().sum() > 0


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_a_narrow_model_learns_from_the_original(blobs: Workload, alpha: float) -> None:
    student = net()
    before = accuracy(student, blobs)
    report = recover(student, blobs, Recovery(alpha=alpha, epochs=6, learning_rate=2e-2, batch_size=32), seed=0)
    assert accuracy(student, blobs) > max(0.9, before + 0.2)
    assert report.steps == 6 * (600 // 32)
    shorter = recover(net(), blobs, Recovery(alpha=alpha, epochs=1, learning_rate=2e-2, batch_size=32), seed=0)
    assert 0 < report.loss < 0.8 * shorter.loss
    assert report.seconds > 0
    assert not student.training
    assert all(torch.isfinite(value).all() for value in student.state_dict().values())


def test_labels_are_not_looked_at_when_alpha_is_zero(blobs: Workload) -> None:
    wrong = replace(blobs, train=replace(blobs.train, labels=blobs.train.labels.roll(1)))
    student = net()
    recover(student, wrong, Recovery(alpha=0, epochs=6, learning_rate=2e-2, batch_size=32), seed=0)
    assert accuracy(student, blobs) > 0.9


def test_the_teacher_is_not_asked_when_alpha_is_one(blobs: Workload) -> None:
    recover(net(), blobs, Recovery(alpha=1, epochs=1), seed=0)
    assert "teacher" not in vars(blobs)


def test_the_same_seed_gives_the_same_weights_and_leaves_the_generator(blobs: Workload) -> None:
    students = [copy.deepcopy(net()) for _ in range(3)]
    state = torch.random.get_rng_state()
    for student, seed in zip(students, (5, 5, 6), strict=True):
        torch.rand(seed)  # what happened before must not matter
        recover(student, blobs, Recovery(epochs=2), seed)
    torch.random.set_rng_state(state)
    recover(net(), blobs, Recovery(epochs=1), 9)
    weights = [torch.cat([p.flatten() for p in student.parameters()]) for student in students]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_recovery_leaves_the_global_generator_and_the_teacher_alone(blobs: Workload) -> None:
    before = {name: value.clone() for name, value in blobs.model.state_dict().items()}
    state = torch.random.get_rng_state()
    student = copy.deepcopy(blobs.model)
    recover(student, blobs, Recovery(epochs=1), 0)
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(before[name], value) for name, value in blobs.model.state_dict().items())
    assert not blobs.model.training


def test_without_labels(blobs: Workload) -> None:
    unlabeled = replace(blobs, train=replace(blobs.train, labels=None), task="label_free")
    student = net()
    recover(student, unlabeled, Recovery(alpha=0.9, epochs=6, learning_rate=2e-2, batch_size=32), seed=0)
    assert accuracy(student, blobs) > 0.9


def test_a_regression_is_recovered() -> None:
    torch.manual_seed(0)
    teacher, x = net(4, 2, width=64), torch.randn(512, 4)
    workload = workload_of(teacher, (x,), outputs(teacher, Split((x,))), task="regression")
    student = net(4, 2)
    before = functional.mse_loss(outputs(student, workload.test), workload.test.labels)
    recover(student, workload, Recovery(epochs=20, learning_rate=2e-2), seed=0)
    assert functional.mse_loss(outputs(student, workload.test), workload.test.labels) < 0.2 * before


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.line, self.head = nn.Embedding(20, 8), nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, tokens: torch.Tensor, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.head(self.table(tokens).mean(1) + self.line(pixels)), pixels


@pytest.mark.parametrize("names", [(), ("tokens", "pixels")])
def test_several_keyword_and_integer_inputs(names: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    inputs = (torch.randint(0, 20, (128, 5)), torch.randn(128, 6))
    teacher, student = TwoInputs(), TwoInputs()
    workload = workload_of(teacher, inputs, torch.arange(128) % 3, names=names)
    before = functional.mse_loss(outputs(student, workload.train), workload.teacher)
    recover(student, workload, Recovery(alpha=0, epochs=30, learning_rate=2e-2, temperature=1), seed=0)
    assert functional.mse_loss(outputs(student, workload.train), workload.teacher) < before


class Masked(nn.Module):
    def __init__(self, mask: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight * self.mask


def test_parametrized_weights_stay_what_their_parametrization_says(blobs: Workload) -> None:
    student = net()
    mask = (torch.arange(48).reshape(8, 6) % 5 > 0).float()
    parametrize.register_parametrization(student[0], "weight", Masked(mask))
    recover(student, blobs, Recovery(epochs=6, learning_rate=2e-2, batch_size=32), seed=0)
    parametrize.remove_parametrizations(student[0], "weight")
    assert torch.equal(student[0].weight == 0, mask == 0)
    assert accuracy(student, blobs) > 0.8


def test_frozen_weights_stay(blobs: Workload) -> None:
    student = net()
    student[0].weight.requires_grad_(False)
    before = student[0].weight.clone()
    recover(student, blobs, Recovery(epochs=1), seed=0)
    assert torch.equal(student[0].weight, before)


def test_fewer_examples_than_a_batch(blobs: Workload) -> None:
    few = replace(blobs, train=blobs.train.rows(slice(0, 5)))
    assert recover(copy.deepcopy(blobs.model), few, Recovery(epochs=2, batch_size=64), seed=0).steps == 2


def test_a_last_batch_of_one_does_not_reach_batch_norm(blobs: Workload) -> None:
    odd = replace(blobs, train=blobs.train.rows(slice(0, 65)))
    assert recover(copy.deepcopy(blobs.model), odd, Recovery(epochs=1, batch_size=32), seed=0).steps == 2


def test_what_can_not_be_recovered_is_refused(blobs: Workload) -> None:
    with pytest.raises(Refusal, match="no training data"):
        recover(net(), replace(blobs, train=None), Recovery(), seed=0)
    with pytest.raises(Refusal, match="no weights that can be trained"):
        recover(nn.Flatten(), blobs, Recovery(), seed=0)
    broken = net()
    nn.init.constant_(broken[0].weight, math.inf)
    with pytest.raises(Refusal, match=r"diverged \(loss nan\) at a learning rate of 0.1"):
        recover(broken, blobs, Recovery(learning_rate=0.1), seed=0)


def test_distillation_is_the_technique_of_it(blobs: Workload) -> None:
    technique = Distillation(alpha=0.25, epochs=6, learning_rate=2e-2, batch_size=32)
    assert Distillation().recovery() == Recovery()
    assert technique.recovery() == Recovery(0.25, 4.0, 6, 2e-2, 32)
    student = net()
    assert technique.apply(student, Context(blobs)) is student
    assert accuracy(student, blobs) > 0.9
    with pytest.raises(Refusal, match="no training data"):
        technique.apply(net(), Context(replace(blobs, train=None)))


@pytest.mark.parametrize(
    "settings", [{"temperature": 0}, {"alpha": 1.1}, {"alpha": -0.1}, {"epochs": 0}, {"learning_rate": 0}, {"beta": 1}]
)
def test_settings_have_ranges(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        Distillation(**settings)


def test_a_loaded_workload_is_recovered(project) -> None:
    workload = load_workload(project())
    student = copy.deepcopy(workload.model)
    recover(student, workload, Recovery(alpha=1, epochs=20, learning_rate=1e-2), seed=0)
    labels = workload.test.labels.numpy()
    assert workload.score(predict(student, workload.test), labels) > 0.85
