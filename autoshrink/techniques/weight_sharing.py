"""Weight sharing: the weights of a layer take few values, which are stored once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from autoshrink.core import Chooser, Encoding, Refusal, Setting, Step
from autoshrink.techniques.base import Accepts, Context, Stage, Technique

if TYPE_CHECKING:
    from torch import nn

__all__ = ["WeightSharing"]

_FLOAT_BYTES = 4


class WeightSharing(Technique):
    """Clusters the weights of each linear layer and convolution, so that a file holds small indices and a codebook.

    Weights that were pruned stay zero. In a recipe with a recovery step the centroids are fine-tuned: the gradient of a
    centroid is the sum of those of its weights. Batch norms are folded into the weights before them, as runtimes do:
    else the channels' scales would give every channel values of its own. Shapes and arithmetic stay as they are.

    References:
        Han et al. 2016, "Deep Compression: Compressing Deep Neural Networks with Pruning, Trained Quantization and
        Huffman Coding".
    """

    kind: ClassVar[str] = "weight_sharing"
    stage: ClassVar[Stage] = Stage.ENCODING
    order: ClassVar[int] = 10
    stronger: ClassVar[Mapping[str, Literal["low", "high"]]] = {"entries": "low"}
    epochs_of: ClassVar[str] = "epochs"

    entries: Annotated[int, Field(ge=16, le=256)] = 16
    """Most values that the weights of a layer take."""
    epochs: Annotated[int, Field(ge=0, le=100)] = 1
    """Length of the fine-tuning of the centroids, in a recipe with a recovery step."""

    def idle(self, *, recovered: bool) -> frozenset[str]:
        """Nothing is fine-tuned in a recipe without a recovery step."""
        return super().idle(recovered=recovered) | (frozenset() if recovered else {"epochs"})

    @classmethod
    def draw(cls, step: Step, choose: Chooser, accepts: Accepts) -> Setting | None:
        """Draw the settings, where the backend stores codebooks."""
        if accepts(Encoding(codebook=cls.model_fields["entries"].default)):
            return None
        return super().draw(step, choose, accepts)

    def label(self) -> str:
        """Say what it does, and how much of it."""
        return f"share {self.entries}"

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Cluster the weights, and fine-tune the centroids.

        Raises:
            Refusal: no layer has so many weights that a codebook would save anything.
        """
        from autoshrink.models.recovery import recover
        from autoshrink.techniques._torch.codebooks import attach
        from autoshrink.techniques._torch.layers import bake, weights
        from autoshrink.techniques._torch.norms import fold, recalibrate

        # Pruned weights are zeros from here on, which a codebook keeps.
        model = fold(bake(model), context.workload.example)
        found = [weight for weight in weights(model) if self._saves(weight.tensor.numel())]
        if not found:
            raise Refusal(f"weight_sharing: no layer is so large that a codebook of {self.entries} would save bytes")
        for weight in found:
            attach(weight, self.entries)
        recalibrate(model, context.workload.calibration)
        if context.recovery is not None and self.epochs:
            recover(model, context.workload, replace(context.recovery, epochs=self.epochs), context.seed)
            recalibrate(model, context.workload.calibration)  # the running averages lag behind so short a training
        return model

    def encode(self, encoding: Encoding, model: nn.Module) -> Encoding:
        """Ask for codebooks in the file."""
        return encoding.model_copy(update={"codebook": self.entries})

    def _saves(self, count: int) -> bool:
        index_bytes = (self.entries - 1).bit_length() / 8
        return count * index_bytes + self.entries * _FLOAT_BYTES < count * _FLOAT_BYTES
