"""Metrics: functions of outputs and labels that give a number, where higher is better."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from autoshrink.core import nearest
from autoshrink.models.user_code import UserCode

__all__ = ["BUILT_IN", "Score", "accuracy", "agreeing", "class_axis", "find_metric", "macro_f1", "negative_mse"]

Score = Callable[[np.ndarray, np.ndarray], float]
_KEY = ("metric",)


def class_axis(outputs: tuple[int, ...], labels: tuple[int, ...] | None = None) -> int:
    """Find the dimension of outputs that counts the classes.

    Args:
        outputs: the outputs' shape: (examples, classes), (examples, classes, …) or (examples, …, classes).
        labels: the shape of integer labels; without them four dimensions or more are read as (examples, classes, …).

    Raises:
        ValueError: the labels' shape is not the outputs' less one dimension.
    """
    last = len(outputs) - 1
    if labels is None:
        return 1 if last > 2 else last
    if last >= 1 and outputs[:1] + outputs[2:] == labels:
        return 1
    if last >= 1 and outputs[:-1] == labels:
        return last
    raise ValueError(f"labels of shape {labels} don't fit outputs of shape {outputs}")


def accuracy(outputs: np.ndarray, labels: np.ndarray) -> float:
    """Give the share of examples whose highest output is that of their label."""
    return float(np.mean(outputs.argmax(class_axis(outputs.shape, labels.shape)) == labels))


def macro_f1(outputs: np.ndarray, labels: np.ndarray) -> float:
    """Give the mean over classes of the harmonic mean of precision and recall."""
    from sklearn.metrics import f1_score

    chosen = outputs.argmax(class_axis(outputs.shape, labels.shape))
    return float(f1_score(labels.ravel(), chosen.ravel(), average="macro", zero_division=0))


def negative_mse(outputs: np.ndarray, labels: np.ndarray) -> float:
    """Give the mean squared error, negated so that higher is better."""
    difference = outputs.astype(np.float64) - labels.reshape(outputs.shape)
    return -float(np.mean(difference * difference))


def agreeing(score: Score) -> Score:
    """Make a metric of classes compare with the original's outputs, where there are no labels."""

    def agreement(outputs: np.ndarray, original: np.ndarray) -> float:
        return score(outputs, original.argmax(class_axis(original.shape)))

    return agreement


BUILT_IN: dict[str, Score] = {"accuracy": accuracy, "agreement": accuracy, "f1": macro_f1, "mse": negative_mse}


def find_metric(name: str, code: UserCode, task: str) -> Score:
    """Find a metric by its name, or one's own by ``FILE.py:FUNCTION``.

    One's own is called with outputs (examples, …) and labels, both arrays. Without labels it gets the original's
    outputs in their place, and a built-in metric of classes compares with the original's classes.

    Raises:
        SpecError: there is no such metric.
    """
    if name in BUILT_IN:
        return agreeing(BUILT_IN[name]) if task == "label_free" else BUILT_IN[name]
    if ":" not in name:
        raise code.source.error(_KEY, f"no metric {name!r}; {nearest(name, BUILT_IN)}, or FILE.py:FUNCTION")
    own = code.function(name, _KEY)

    def score(outputs: np.ndarray, labels: np.ndarray) -> float:
        with code.guard(_KEY, f"{name} failed"):
            value = own(outputs, labels)
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise code.source.error(_KEY, f"{name} returns a {type(value).__name__}, not a number") from None
        if not math.isfinite(number):
            raise code.source.error(_KEY, f"{name} returns {number}, not a finite number")
        return number

    return score
