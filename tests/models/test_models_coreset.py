"""The coreset: every class has its share, the same examples every time, and nothing is left out of little data."""

from __future__ import annotations

import pytest
import torch

from autoshrink.models.coreset import coreset
from autoshrink.models.splits import Split


def blobs(count: int, classes: int = 4) -> tuple[Split, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    # The first class is four times as common as the others.
    labels = torch.randint(0, classes + 3, (count,), generator=generator) % (classes + 3)
    labels = torch.where(labels >= classes, 0, labels)
    answers = torch.nn.functional.one_hot(labels, classes) * 3 + torch.randn(count, classes, generator=generator)
    return Split((torch.randn(count, 5, generator=generator),), labels), answers.float()


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_each_class_keeps_its_share(share: float) -> None:
    train, answers = blobs(4000)
    assert train.labels is not None
    kept = coreset(train, answers, share, seed=0)
    assert len(kept) == len(kept.unique()) == pytest.approx(share * 4000, abs=2)
    for name in range(4):
        all_of_it = int((train.labels == name).sum())
        assert int((train.labels[kept] == name).sum()) == pytest.approx(share * all_of_it, abs=1)


def test_it_is_the_same_for_the_same_seed() -> None:
    train, answers = blobs(2000)
    assert torch.equal(coreset(train, answers, 0.25, 3), coreset(train, answers, 0.25, 3))
    assert not torch.equal(coreset(train, answers, 0.25, 3), coreset(train, answers, 0.25, 4))


def test_it_covers_the_answers_better_than_chance() -> None:
    train, answers = blobs(4000)
    near = torch.cdist(answers, answers[coreset(train, answers, 0.1, 0)]).amin(1).mean()
    chance = [
        torch.cdist(answers, answers[torch.randperm(4000, generator=torch.Generator().manual_seed(seed))[:400]])
        for seed in range(5)
    ]
    assert near < min(distances.amin(1).mean() for distances in chance)


@pytest.mark.parametrize("count", [10, 256, 300])
def test_little_data_is_kept_whole_or_nearly(count: int) -> None:
    train, answers = blobs(count)
    assert len(coreset(train, answers, 0.25, 0)) == pytest.approx(min(count, 256), abs=2)


@pytest.mark.parametrize("outputs", [1, 3])
def test_data_without_classes_are_spread_over_the_answers(outputs: int) -> None:
    answers = torch.randn(2000, outputs)
    kept = coreset(Split((torch.randn(2000, 2),), None), answers, 0.25, 0)
    assert len(kept) == pytest.approx(500, abs=5)
    assert answers[kept].min() < answers.quantile(0.02)
    assert answers[kept].max() > answers.quantile(0.98)
