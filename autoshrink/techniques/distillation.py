"""Distillation: recovers what was lost, by learning from the labels and from the original's outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from autoshrink.techniques.base import Context, Stage, Technique

if TYPE_CHECKING:
    from torch import nn

    from autoshrink.models.recovery import Recovery

__all__ = ["Distillation"]


class Distillation(Technique):
    """Trains the compressed model with the loss α·CE(student, labels) + (1−α)·T²·KL(student/T ‖ teacher/T).

    The original is the teacher. Data without labels leave only the second term; a regression has mean squared errors
    in both. Other techniques of the recipe fine-tune with the same settings.

    References:
        Hinton et al. 2015, "Distilling the Knowledge in a Neural Network".
    """

    kind: ClassVar[str] = "distillation"
    stage: ClassVar[Stage] = Stage.RECOVERY

    temperature: Annotated[float, Field(gt=0, le=100)] = 4.0
    """What the logits of both models are divided by; higher shows more of what the teacher finds similar."""
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Weight of the labels; 1 is plain fine-tuning."""
    epochs: Annotated[int, Field(ge=1, le=10_000)] = 4
    """Passes over the training split."""
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 5e-3
    """Highest step size of the one-cycle schedule of AdamW."""
    batch_size: Annotated[int, Field(ge=1)] = 64

    def idle(self, *, recovered: bool) -> frozenset[str]:
        """Plain fine-tuning has no teacher, whose temperature would matter."""
        return frozenset({"temperature"} if self.alpha == 1 else ())

    def recovery(self) -> Recovery:
        """Give the settings as the training loop takes them."""
        from autoshrink.models.recovery import Recovery

        return Recovery(**self.model_dump())

    def label(self) -> str:
        """Say what it does, and how much of it."""
        return f"distill T={self.temperature:.2g} α={self.alpha:.2g}"

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Train the model.

        Raises:
            Refusal: there is no training data, or the training diverged.
        """
        from autoshrink.models.recovery import recover

        recovery = self.recovery()
        length = context.rung.of(recovery) if context.rung is not None else recovery
        recover(model, context.workload, length, context.seed)
        return model
