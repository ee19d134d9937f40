"""What a model answers, and how far a changed one's answers are from that."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from autoshrink.models.labels import Task
from autoshrink.models.losses import distillation_loss
from autoshrink.models.splits import Split, forward

__all__ = ["Answers"]

_LARGEST = 1e6


class Answers:
    """A model's answers on some examples; any other model can be compared with them.

    The distance is KL(original ‖ other) in nats a prediction, or the mean squared error for a regression. Unlike the
    loss against labels it is zero for the original and grows with every change: of a change as small as rounding to 8
    bits the labels tell little but noise (its rank correlation between two sets of examples was 0.72 on ResNet-8, and
    that of this distance 0.996).

    Args:
        model: the original, in eval mode.
        examples: what is asked, in one batch.
        task: the workload's.
        norms: whether batch norms use the statistics of the examples, as techniques that change the structure estimate
            them again; the original's do so too, so that this by itself counts for nothing.
    """

    def __init__(self, model: nn.Module, examples: Split, task: Task, *, norms: bool) -> None:
        self._examples = examples
        self._task = task
        self._norms = norms and len(examples) > 1
        self._original = self._ask(model)

    def distance(self, model: nn.Module) -> float:
        """Tell how far away a model's answers are; with ``norms`` the statistics of its batch norms are changed."""
        answers = self._ask(model)
        if not torch.isfinite(answers).all():
            return _LARGEST
        loss = distillation_loss(answers, self._original, self._examples.labels, self._task, 0.0, 1.0)
        return min(max(float(loss), 0.0), _LARGEST)

    @torch.no_grad()
    def _ask(self, model: nn.Module) -> Tensor:
        norms = [m for m in model.modules() if self._norms and isinstance(m, nn.modules.batchnorm._BatchNorm)]
        for norm in norms:
            norm.train()
        try:
            return forward(model, self._examples)
        finally:
            for norm in norms:
                norm.eval()
