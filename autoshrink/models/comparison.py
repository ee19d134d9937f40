"""Two models' answers beside each other: where they differ, and what that does to each class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from autoshrink.models.metrics import class_axis
from autoshrink.models.workload import Workload

__all__ = ["Case", "ClassChange", "Classes", "Values", "answers_of", "compare", "truth_of"]

_MOST = 1_000_000
"""Numbers that are kept of answers that are no classes."""


@dataclass(frozen=True)
class ClassChange:
    """One class: how many examples it has, and how many of them each model gets right."""

    label: int
    examples: int
    before: int
    after: int


@dataclass(frozen=True)
class Case:
    """One example on which the models differ; classes are None where an example has more than one."""

    index: int
    """Its place in the test split, counted from 0."""
    label: float | None
    before: float | None
    after: float | None


@dataclass(frozen=True)
class Classes:
    """Answers that are classes, counted over examples (or positions in them)."""

    answers: int
    lost: int
    """The original is right, the other wrong."""
    won: int
    """The other way round."""
    astray: int
    """Both are wrong, each in its own way."""
    changes: tuple[ClassChange, ...]
    cases: tuple[Case, ...]
    """Where they differ: first what was lost, then what was won, then the rest."""

    @property
    def before(self) -> float:
        """The original's share of right answers."""
        return sum(change.before for change in self.changes) / self.answers

    @property
    def after(self) -> float:
        """The other's share of right answers."""
        return sum(change.after for change in self.changes) / self.answers


@dataclass(frozen=True)
class Values:
    """Answers that are numbers: how far apart they are, and the examples where that is most."""

    answers: int
    difference: float
    """Root of the mean squared difference between the models."""
    spread: float
    """Standard deviation of the original's answers, to compare with."""
    cases: tuple[Case, ...]
    """The largest difference first."""


def answers_of(workload: Workload, outputs: np.ndarray) -> np.ndarray | None:
    """Give a model's answers in brief.

    Args:
        workload: says whether the answers are classes.
        outputs: of the test split, shape (examples, …).

    Returns:
        The class of each example, shape (examples, …); for numbers the outputs themselves in 32 bits, unless they are
        too many to be kept (None).
    """
    if not _are_classes(workload):
        return outputs.astype(np.float32) if outputs.size <= _MOST else None
    labels = workload.test.labels
    known = workload.task == "classification" and labels is not None
    chosen = outputs.argmax(class_axis(outputs.shape, tuple(labels.shape) if known and labels is not None else None))
    small: np.ndarray = chosen.astype(np.int16 if chosen.max(initial=0) < 2**15 else np.int32)
    return small


def truth_of(workload: Workload) -> np.ndarray:
    """Give what the answers of the test split are compared with: labels, or the original's answers in their place."""
    assert workload.test.labels is not None  # a workload always has them
    labels: np.ndarray = workload.test.labels.numpy()
    if workload.task == "label_free" and _are_classes(workload):
        labels = labels.argmax(class_axis(labels.shape))
    return labels


def compare(before: np.ndarray, after: np.ndarray, truth: np.ndarray, most: int = 200) -> Classes | Values:
    """Compare two models' answers, as `answers_of` gives them.

    Args:
        before: the original's.
        after: the other's.
        truth: what is right, as `truth_of` gives it.
        most: how many cases are listed.

    Raises:
        ValueError: they are not about the same examples.
    """
    if before.shape != after.shape or len(before) != len(truth):
        raise ValueError(f"answers of the shapes {before.shape} and {after.shape} for {len(truth)} examples")
    if before.dtype.kind not in "iu":
        return _values(before, after, truth, most)
    if before.shape != truth.shape:
        raise ValueError(f"answers of the shape {before.shape} for labels of the shape {truth.shape}")
    right, now = before == truth, after == truth
    differ = before != after
    groups = (differ & right & ~now, differ & ~right & now, differ & ~right & ~now)
    listed: list[int] = []
    for group in groups:
        rows = np.flatnonzero(group.reshape(len(group), -1).any(axis=1)).tolist()
        listed += [row for row in rows if row not in listed]
    changes = (
        ClassChange(int(label), int((mask := truth == label).sum()), int(right[mask].sum()), int(now[mask].sum()))
        for label in np.unique(truth)
    )
    lost, won, astray = (int(group.sum()) for group in groups)
    return Classes(truth.size, lost, won, astray, tuple(changes), tuple(_cases(listed[:most], before, after, truth)))


def _values(before: np.ndarray, after: np.ndarray, truth: np.ndarray, most: int) -> Values:
    apart = np.square(after.astype(float) - before.astype(float)).reshape(len(before), -1).mean(axis=1)
    order = np.argsort(-apart, kind="stable")[:most].tolist()
    listed = tuple(_cases([row for row in order if apart[row] > 0], before, after, truth))
    return Values(len(before), float(np.sqrt(apart.mean())), float(before.std()), listed)


def _cases(rows: list[int], before: np.ndarray, after: np.ndarray, truth: np.ndarray) -> Iterator[Case]:
    single = before[0].size == 1
    for row in rows:
        if single:
            label = float(truth[row].item()) if truth[row].size == 1 else None
            yield Case(row, label, float(before[row].item()), float(after[row].item()))
        else:
            yield Case(row, None, None, None)


def _are_classes(workload: Workload) -> bool:
    return workload.task == "classification" or (workload.task == "label_free" and ":" not in workload.metric)
