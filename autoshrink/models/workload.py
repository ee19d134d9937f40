"""The workload: the user's original model with its data, metric and loss, ready to be compressed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import nn

from autoshrink.models.splits import Split

__all__ = ["Task", "Workload"]

Task = Literal["classification", "regression", "label_free"]
Score = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Workload:
    """What a recipe is applied to; nothing in it is ever changed.

    ``model`` is the original in eval mode on the CPU and the teacher of every recovery. ``score`` takes outputs
    (examples, …) and labels and gives a number where higher is better. ``key`` hashes weights, data and metric.
    """

    model: nn.Module
    train: Split
    validation: Split
    test: Split
    calibration: Split
    score: Score
    task: Task
    key: str

    @property
    def example(self) -> Split:
        """One example, the input that latency is measured with."""
        return self.validation.rows(slice(0, 1))
