"""Gradients of a model's loss, as far as criteria of importance need them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from autoshrink.models.losses import task_loss
from autoshrink.models.splits import Split, forward
from autoshrink.models.workload import Workload

__all__ = ["fill_gradients"]

_BATCHES = {"first": (8, 32), "second": (128, 1)}
"""How many batches of how many examples."""


def fill_gradients(model: nn.Module, workload: Workload, moment: Literal["first", "second"], seed: int) -> None:
    """Put a statistic of the loss's gradient into the ``grad`` of every parameter.

    The loss is the task's. For a regression it is a random projection of the outputs instead: where the labels are the
    original's own outputs the squared error is zero and so is its gradient, but its curvature is that of the projection
    (Hutchinson's estimate of the Gauss-Newton matrix), so that a weight counts as much as the outputs depend on it.

    Args:
        model: in eval mode; it keeps its weights and gets gradients.
        workload: gives the examples, from the training data where there are some.
        moment: ``first``: root mean square over small batches; ``second``: mean square over single examples,
            the diagonal of the empirical Fisher information.
        seed: draws the examples, and the projection.
    """
    generator = torch.Generator().manual_seed(seed)
    split = workload.calibration if workload.train is None else workload.train
    count, size = _BATCHES[moment]
    rows = torch.randperm(len(split), generator=generator)[: count * size]
    parameters = [p for p in model.parameters() if p.is_floating_point()]
    totals = [torch.zeros_like(p) for p in parameters]
    batches = 0
    with torch.enable_grad():
        for loss in _losses(model, workload, split.rows(rows), size, generator):
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            for total, gradient in zip(totals, gradients, strict=True):
                if gradient is not None:
                    total.addcmul_(gradient, gradient)
            batches += 1
    for parameter, total in zip(parameters, totals, strict=True):
        mean = total / max(batches, 1)
        parameter.grad = mean.sqrt() if moment == "first" else mean


def _losses(
    model: nn.Module, workload: Workload, split: Split, size: int, generator: torch.Generator
) -> Iterator[Tensor]:
    for batch in split.batches(size):
        outputs = forward(model, batch)
        if workload.task == "regression":
            signs = torch.randint(0, 2, outputs.shape, generator=generator, dtype=outputs.dtype) * 2 - 1
            yield (outputs * signs).sum() / len(batch)
        else:
            yield task_loss(outputs, batch.labels, workload.task)
