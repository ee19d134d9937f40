"""Two models' answers beside each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from autoshrink.models.comparison import Case, ClassChange, Classes, Values, answers_of, compare, truth_of
from autoshrink.models.metrics import BUILT_IN
from autoshrink.models.splits import Split
from autoshrink.models.workload import Workload


def workload(labels: torch.Tensor, task: Any = "classification", metric: str = "accuracy") -> Workload:
    split = Split((torch.zeros(len(labels), 2),), labels)
    return Workload(nn.Identity(), None, split, split, split, BUILT_IN["accuracy"], task, "key", metric)


def answered(given: Workload, outputs: np.ndarray) -> np.ndarray:
    answers = answers_of(given, outputs)
    assert answers is not None
    return answers


def test_answers_are_the_classes_that_the_metric_counts() -> None:
    outputs = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
    given = workload(torch.tensor([1, 0, 0]))
    answers = answered(given, outputs)
    assert answers.tolist() == [1, 0, 1]
    found = compare(answers, answers, truth_of(given))
    assert isinstance(found, Classes)
    assert found.before == found.after == pytest.approx(BUILT_IN["accuracy"](outputs, np.array([1, 0, 0])))
    assert not found.cases


def test_every_change_is_counted_once_and_what_was_lost_comes_first() -> None:
    truth, before, after = (np.array(row) for row in ([0, 0, 1, 1, 2], [1, 0, 1, 2, 0], [0, 1, 1, 0, 0]))
    found = compare(before, after, truth)
    assert isinstance(found, Classes)
    assert (found.answers, found.lost, found.won, found.astray) == (5, 1, 1, 1)
    assert found.cases == (Case(1, 0, 0, 1), Case(0, 0, 1, 0), Case(3, 1, 2, 0))
    assert found.changes == (ClassChange(0, 2, 1, 1), ClassChange(1, 2, 1, 1), ClassChange(2, 1, 0, 0))
    assert found.after - found.before == pytest.approx((found.won - found.lost) / found.answers)


def test_examples_of_several_positions_are_counted_by_position() -> None:
    labels = torch.tensor([[0, 1, 1], [1, 1, 0]])
    outputs = np.zeros((2, 2, 3))
    outputs[:, 1] = labels.numpy() - 0.5
    changed = outputs.copy()
    changed[1, :, 0] = [5, 0]
    given = workload(labels)
    found = compare(answered(given, outputs), answered(given, changed), truth_of(given))
    assert isinstance(found, Classes)
    assert (found.answers, found.lost, found.before) == (6, 1, 1.0)
    assert found.cases == (Case(1, None, None, None),)


def test_without_labels_the_original_says_what_is_right() -> None:
    given = workload(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), "label_free", "agreement")
    assert truth_of(given).tolist() == [1, 0]
    assert answered(given, np.array([[1.0, 0.0], [1.0, 0.0]])).tolist() == [0, 0]


def test_numbers_are_compared_by_their_distance() -> None:
    given = workload(torch.tensor([[1.0], [2.0], [3.0]]), "regression", "mse")
    before, after = (answered(given, np.array(rows)) for rows in ([[1.0], [2.0], [3.0]], [[1.0], [2.5], [1.0]]))
    found = compare(before, after, truth_of(given))
    assert isinstance(found, Values)
    assert found.difference == pytest.approx(((0.25 + 4) / 3) ** 0.5)
    assert found.cases == (Case(2, 3, 3, 1), Case(1, 2, 2, 2.5))


def test_too_many_numbers_are_not_kept() -> None:
    given = workload(torch.zeros(2, 1), "regression", "mse")
    assert answers_of(given, np.zeros((2, 600_000))) is None


@pytest.mark.parametrize(("after", "truth"), [([0, 1], [0, 1, 1]), ([0, 1, 1], [0, 1]), ([0, 1, 1], [[0], [1], [1]])])
def test_answers_to_other_questions_are_not_compared(after: list[int], truth: list[Any]) -> None:
    with pytest.raises(ValueError, match="shape"):
        compare(np.array([0, 1, 1]), np.array(after), np.array(truth))
