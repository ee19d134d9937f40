"""Low-rank factorization: two or three thin layers in the place of a wide one."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from autoshrink.core import Refusal
from autoshrink.techniques.base import Context, Stage, Technique

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["LowRank"]

_Share = Annotated[float, Field(gt=0, le=1)]


class LowRank(Technique):
    """Factorizes linear layers and convolutions, each where that lowers its weights and its multiplications.

    Depthwise and grouped convolutions and the projections inside of attention modules stay as they are, and so do a
    small first layer with few inputs and a small classifier, whose rank matters most and costs least. The running
    statistics of batch norms are estimated again on the calibration data.

    References:
        Denton et al. 2014, "Exploiting Linear Structure Within Convolutional Networks for Efficient Evaluation" (svd);
        Kim et al. 2016, "Compression of Deep Convolutional Neural Networks for Fast and Low Power Mobile Applications"
        (tucker: Tucker-2 by higher-order SVD).
    """

    kind: ClassVar[str] = "low_rank"
    stage: ClassVar[Stage] = Stage.STRUCTURE
    order: ClassVar[int] = 20
    stronger: ClassVar[Mapping[str, Literal["low", "high"]]] = {"rank_ratio": "low", "energy": "low"}

    rank_ratio: _Share | None = None
    """Rank that is kept, as a share of the full one."""
    energy: _Share | None = None
    """Share of the squared singular values that is kept; each layer gets the lowest rank that does."""
    decomposition: Literal["tucker", "svd"] = "tucker"
    """Of convolutions with a spatial kernel: ``tucker`` is 1×1, spatial, 1×1; ``svd`` is spatial, 1×1."""
    reconstruct: bool = True
    """Whether the last factors are fitted to the original's activations on the calibration data."""

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if (self.rank_ratio is None) == (self.energy is None):
            raise ValueError("low_rank needs either 'rank_ratio' (such as 0.4) or 'energy' (such as 0.9), and not both")
        return self

    def label(self) -> str:
        """Say what it does, and how much of it."""
        return f"rank {self.rank_ratio:.0%}" if self.rank_ratio is not None else f"rank by energy {self.energy:.0%}"

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Factorize what gets cheaper by it.

        Raises:
            Refusal: no layer does.
        """
        from autoshrink.techniques._torch.factors import called_layers, factorize, replace
        from autoshrink.techniques._torch.norms import recalibrate
        from autoshrink.techniques._torch.reconstruction import Counterpart, reconstruct

        original = copy.deepcopy(model) if self.reconstruct else model
        layers = called_layers(model, context.workload.example)
        counterparts = {}
        for layer in layers:
            factors = factorize(layer, self.decomposition, self._rank)
            if factors is not None:
                replace(model, layer.name, factors)
                counterparts[f"{layer.name}.{len(factors) - 1}"] = Counterpart(layer.name)
        if not counterparts:
            rule = f"rank_ratio {self.rank_ratio:.3g}" if self.rank_ratio is not None else f"energy {self.energy:.3g}"
            raise Refusal(f"low_rank: at {rule} none of {len(layers)} linear layers and convolutions gets cheaper")
        if self.reconstruct and not context.only_shapes:
            return reconstruct(model, original, counterparts, context.workload.calibration, context.workload.task)
        recalibrate(model, context.workload.calibration)
        return model

    def _rank(self, values: Tensor) -> int:
        if self.rank_ratio is not None:
            return max(1, math.floor(self.rank_ratio * len(values) + 0.5))
        energy = values.square().cumsum(0)
        return int((energy < (self.energy or 1.0) * energy[-1]).sum().clamp_max(len(values) - 1)) + 1
