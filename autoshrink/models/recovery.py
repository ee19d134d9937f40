"""Recovery: a short training that brings back what compression lost, guided by the original's outputs."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from autoshrink.core import Refusal
from autoshrink.models.losses import distillation_loss
from autoshrink.models.splits import Split, forward
from autoshrink.models.workload import Workload

__all__ = ["RUNGS", "Recovered", "Recovery", "Rung", "recover"]

_CLIP = 1.0
_WARMUP = 0.15


@dataclass(frozen=True)
class Recovery:
    """How to recover: the weight α of the labels, the temperature T, and the training's length and pace."""

    alpha: float = 0.5
    temperature: float = 4.0
    epochs: int = 4
    learning_rate: float = 5e-3
    batch_size: int = 64


@dataclass(frozen=True)
class Rung:
    """A recovery, or a short one after which a candidate can be judged.

    It has a share of the training split, of the epochs and of the learning rate: a short training at the full rate
    undoes more of a good start than it has time to mend.
    """

    share: float
    epochs: float
    rate: float = 1.0

    def of(self, recovery: Recovery) -> Recovery:
        """Shorten a recovery to this rung; an epoch is the least."""
        epochs = max(1, round(self.epochs * recovery.epochs))
        return replace(recovery, epochs=epochs, learning_rate=self.rate * recovery.learning_rate)


RUNGS = (Rung(0.25, 0.5, 0.4), Rung(1.0, 1.0))
"""An eighth of the work on a coreset, which tells the hopeless apart, and all of it.

Each begins with the weights before any training, so that what a recipe gives doesn't depend on whether it was looked at
before. To go on from the short one's weights was much worse where the learning rate is too high for the model (digits
with unbalanced weights: 0.47 instead of 0.92).

References:
    Jamieson and Talwalkar 2016, "Non-stochastic Best Arm Identification and Hyperparameter Optimization" (successive
    halving).
"""


@dataclass(frozen=True)
class Recovered:
    """What a recovery did: its steps, the mean loss of its last epoch, and wall-clock seconds."""

    steps: int
    loss: float
    seconds: float


def recover(model: nn.Module, workload: Workload, recovery: Recovery, seed: int) -> Recovered:
    """Train a model in place, and leave it in eval mode.

    AdamW with a one-cycle schedule; the same seed gives the same weights on one thread. Convolutions are trained in
    the channels-last layout, which takes half to two thirds of the time on a CPU.

    Raises:
        Refusal: there is no training data, the training diverged, or the model has nothing to train.
    """
    begun = time.perf_counter()
    train = workload.training_data
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not weights:
        raise Refusal("the model has no weights that can be trained")
    learns_from_labels = train.labels is not None and workload.task != "label_free" and recovery.alpha == 1
    teacher = torch.empty(len(train), 0) if learns_from_labels else workload.teacher
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(len(train), generator=generator) for _ in range(recovery.epochs)]
    batches = [list(_batches(order, recovery.batch_size)) for order in orders]
    steps = sum(map(len, batches))
    optimizer = torch.optim.AdamW(weights, recovery.learning_rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recovery.learning_rate, total_steps=steps + 1, pct_start=_WARMUP
    )
    loss = 0.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # dropout
        model.train()
        _lay_out(model, torch.channels_last)
        for epoch in batches:
            loss = 0.0
            for index in epoch:
                loss += _step(model, train.rows(index), teacher[index], workload.task, recovery, optimizer, weights)
                schedule.step()
            loss /= len(epoch)
    model.eval()
    _lay_out(model, torch.contiguous_format)
    return Recovered(steps, loss, time.perf_counter() - begun)


def _step(
    model: nn.Module,
    batch: Split,
    teacher: Tensor,
    task: str,
    recovery: Recovery,
    optimizer: torch.optim.Optimizer,
    weights: list[nn.Parameter],
) -> float:
    student = forward(model, _channels_last(batch))
    loss = distillation_loss(student, teacher, batch.labels, task, recovery.alpha, recovery.temperature)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise Refusal(f"the recovery diverged (loss {value}) at a learning rate of {recovery.learning_rate:g}")
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(weights, _CLIP)
    optimizer.step()
    return value


def _lay_out(model: nn.Module, layout: torch.memory_format) -> None:
    for parameter in model.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=layout)


def _channels_last(batch: Split) -> Split:
    images = tuple(x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x for x in batch.inputs)
    return replace(batch, inputs=images)


def _batches(order: Tensor, size: int) -> Iterator[Tensor]:
    # An incomplete last batch is left out where there is another: batch norm can't learn from one example.
    parts = torch.split(order, size)
    yield from parts[:-1] if len(parts) > 1 and len(parts[-1]) < size else parts
