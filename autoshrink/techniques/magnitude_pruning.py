"""Magnitude pruning: sets the smallest weights to zero."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from autoshrink.core import Refusal
from autoshrink.core.recipe import Scalar
from autoshrink.techniques.base import Context, Stage, Technique

if TYPE_CHECKING:
    from torch import nn

__all__ = ["MagnitudePruning"]


class MagnitudePruning(Technique):
    """Zeroes the weights of linear layers and convolutions that are nearest to zero; biases and norms stay.

    Shapes stay as they are: what the zeros buy, in size or in time, depends on the backend and is measured there. The
    zeros stay zeros while the model is trained. The running statistics of batch norms are estimated again.

    References:
        Han et al. 2015, "Learning both Weights and Connections for Efficient Neural Networks";
        Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks" (2:4).
    """

    kind: ClassVar[str] = "magnitude_pruning"
    stage: ClassVar[Stage] = Stage.STRUCTURE
    order: ClassVar[int] = 30
    only_with: ClassVar[Mapping[str, tuple[str, Scalar]]] = {
        "sparsity": ("pattern", "unstructured"),
        "scope": ("pattern", "unstructured"),
    }

    pattern: Literal["unstructured", "2:4"] = "unstructured"
    """``2:4`` keeps two of every four weights along the input channels, which some processors can skip."""
    sparsity: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share of the weights that becomes zero, for the unstructured pattern."""
    scope: Literal["global", "layer"] = "global"
    """Whether weights of all layers compete, or each layer loses the same share, for the unstructured pattern."""

    def label(self) -> str:
        """Say what it does, and how much of it."""
        return "sparse 2:4" if self.pattern == "2:4" else f"sparse {self.sparsity:.0%}"

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Mask the smallest weights.

        Raises:
            Refusal: no layer has weights that fit the pattern.
        """
        from autoshrink.techniques._torch import masks
        from autoshrink.techniques._torch.layers import weights
        from autoshrink.techniques._torch.norms import recalibrate

        found = weights(model)
        if self.pattern == "2:4":
            found = [weight for weight in found if weight.inputs > 0 and weight.inputs % 4 == 0]
        if not found:
            fitting = "input channels are a multiple of 4" if self.pattern == "2:4" else "weights could be zeroed"
            raise Refusal(f"magnitude_pruning: no linear layer or convolution whose {fitting}")
        tensors = [weight.tensor for weight in found]
        if self.pattern == "2:4":
            kept = [masks.two_of_four(tensor) for tensor in tensors]
        elif self.scope == "global":
            kept = masks.unstructured(tensors, self.sparsity)
        else:
            kept = [masks.unstructured([tensor], self.sparsity)[0] for tensor in tensors]
        for weight, mask in zip(found, kept, strict=True):
            masks.attach(weight, mask)
        recalibrate(model, context.workload.calibration)
        return model
