"""Labels: which task they make, how they fit the model's outputs, and what stands for them where there are none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Literal

from torch import Tensor, nn

from autoshrink.core import Source
from autoshrink.models.evaluate import outputs
from autoshrink.models.metrics import class_axis
from autoshrink.models.splits import Split

__all__ = ["Task", "fit_labels", "label_by_original", "task_of"]

Task = Literal["classification", "regression", "label_free"]


def task_of(labels: Tensor | None, metric: str) -> Task:
    """Tell the task by the metric's name and by the kind of the labels."""
    if metric == "mse":
        return "regression"
    if labels is None:
        return "label_free"
    return "regression" if labels.is_floating_point() and ":" in metric else "classification"


def label_by_original(model: nn.Module, splits: Mapping[str, Split], task: Task) -> dict[str, Split]:
    """Put the original's outputs where labels are missing, for the metric to compare with.

    A regression also learns from them; classes are learned from the original's probabilities, without labels.
    """
    labeled = ("validation", "test", "train") if task == "regression" else ("validation", "test")
    return {
        name: replace(split, labels=outputs(model, split)) if name in labeled else split
        for name, split in splits.items()
    }


def fit_labels(splits: Mapping[str, Split], shape: tuple[int, ...], task: Task, source: Source) -> dict[str, Split]:
    """Check labels against the model's outputs, and bring them into the form that the task's loss takes.

    Args:
        splits: examples with labels, or without.
        shape: the shape of the outputs for one example.
        task: the workload's task.
        source: the target, for errors.

    Returns:
        The splits with classes as integers, or with regression labels as floats of the outputs' shape.

    Raises:
        SpecError: the labels don't fit the outputs.
    """
    fit = _classes if task == "classification" else _values
    fitted = dict(splits)
    for name, split in splits.items():
        if split.labels is not None:
            try:
                fitted[name] = replace(split, labels=fit(split.labels, shape))
            except ValueError as error:
                raise source.error(("data",), f"the labels of the {name} split {error}") from None
    return fitted


def _classes(labels: Tensor, shape: tuple[int, ...]) -> Tensor:
    if labels.is_floating_point():
        raise ValueError("are floats: give classes as whole numbers, or use metric 'mse' or one of your own")
    if labels.dim() == len(shape) + 1 and labels.shape[-1] == 1:
        labels = labels.squeeze(-1)
    try:
        classes = shape[class_axis((len(labels), *shape), tuple(labels.shape)) - 1]
    except ValueError:
        raise ValueError(
            f"have the shape {tuple(labels.shape)}, the model's outputs {(len(labels), *shape)}: give one class number "
            "for each row of outputs (not one-hot), or floats and metric 'mse'"
        ) from None
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        few = "; give the model one output for each class" if classes == 1 else ""
        raise ValueError(f"run from {low} to {high}, but the model has {classes} outputs: 0…{classes - 1} fit{few}")
    return labels


def _values(labels: Tensor, shape: tuple[int, ...]) -> Tensor:
    if labels[0].numel() != prod(shape):
        raise ValueError(f"have the shape {tuple(labels.shape)}, the model's outputs {(len(labels), *shape)}")
    return labels.float().reshape(len(labels), *shape)
