"""The losses that compressed models learn from."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from autoshrink.models.metrics import class_axis

__all__ = ["distillation_loss", "task_loss"]


def task_loss(outputs: Tensor, labels: Tensor | None, task: str) -> Tensor:
    """Give the loss against the labels: cross-entropy for classes, mean squared error for a regression.

    Without labels the outputs' own top-1 classes stand for them, so that the gradient still says which weights matter.
    """
    if task == "regression" and labels is not None:
        return functional.mse_loss(outputs, labels)
    if labels is None or task == "label_free":
        labels = outputs.detach().argmax(class_axis(tuple(outputs.shape)))
    return _cross_entropy(outputs, labels)


def distillation_loss(
    student: Tensor, teacher: Tensor, labels: Tensor | None, task: str, alpha: float, temperature: float
) -> Tensor:
    """Give α·CE(student, labels) + (1−α)·T²·KL(student/T ‖ teacher/T).

    Without labels only the second term is there, with weight 1. A regression has mean squared errors in both.

    Args:
        student: the compressed model's outputs, shape (examples, classes), (examples, classes, …) or
            (examples, …, classes).
        teacher: the original's outputs, of the same shape; not looked at when α is 1 and there are labels.
        labels: integer classes, or floats of the outputs' shape.
        task: the workload's task.
        alpha: the weight of the labels, 0…1.
        temperature: what both models' logits are divided by, above zero.

    References:
        Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, arXiv:1503.02531, 2015.
    """
    if labels is None or task == "label_free":
        return _soft(student, teacher, None, task, temperature)
    if alpha == 1:
        return task_loss(student, labels, task)
    soft = _soft(student, teacher, labels, task, temperature)
    return soft if alpha == 0 else alpha * task_loss(student, labels, task) + (1 - alpha) * soft


def _soft(student: Tensor, teacher: Tensor, labels: Tensor | None, task: str, temperature: float) -> Tensor:
    if task == "regression":
        return functional.mse_loss(student, teacher)
    axis = class_axis(tuple(student.shape), None if labels is None else tuple(labels.shape))
    student, teacher = (_rows(logits, axis) / temperature for logits in (student, teacher))
    # kl_div(a, b) is KL(b ‖ a).
    divergence = functional.kl_div(
        functional.log_softmax(teacher, 1), functional.log_softmax(student, 1), reduction="batchmean", log_target=True
    )
    return divergence * temperature**2


def _cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    axis = class_axis(tuple(outputs.shape), tuple(labels.shape))
    return functional.cross_entropy(_rows(outputs, axis), labels.flatten())


def _rows(outputs: Tensor, axis: int) -> Tensor:
    return outputs.movedim(axis, -1).flatten(0, -2) if outputs.dim() > 2 else outputs
