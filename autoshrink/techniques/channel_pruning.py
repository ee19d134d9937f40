"""Channel pruning: removes the least important channels, with everything that is coupled to them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from autoshrink.core import Refusal
from autoshrink.core.recipe import Scalar
from autoshrink.techniques.base import Context, Stage, Technique

if TYPE_CHECKING:
    from torch import Size, nn

    from autoshrink.techniques._torch.channels import Limits

__all__ = ["ChannelPruning"]


class ChannelPruning(Technique):
    """Removes whole channels, so that the model stays dense and gets narrower.

    Channels that residual connections, depthwise convolutions or attention heads couple are removed together. Inputs
    and outputs keep their widths, and so do layers whose widths the model's own code fixes. The layers that lost inputs
    are fitted to what they gave in the original, on the calibration data and without a gradient step, and the running
    statistics of batch norms are estimated again.

    References:
        Fang et al. 2023, "DepGraph: Towards Any Structural Pruning" (the coupled groups, by Torch-Pruning);
        Li et al. 2017, "Pruning Filters for Efficient ConvNets" (l1, l2);
        Molchanov et al. 2019, "Importance Estimation for Neural Network Pruning" (taylor);
        LeCun et al. 1989, "Optimal Brain Damage" (hessian: the diagonal of the empirical Fisher information);
        He et al. 2017, "Channel Pruning for Accelerating Very Deep Neural Networks" (reconstruct).
    """

    kind: ClassVar[str] = "channel_pruning"
    stage: ClassVar[Stage] = Stage.STRUCTURE
    order: ClassVar[int] = 10
    stronger: ClassVar[Mapping[str, Literal["low", "high"]]] = {"ratio": "high", "max_ratio": "high", "round_to": "low"}
    only_with: ClassVar[Mapping[str, tuple[str, Scalar]]] = {"max_ratio": ("scope", "global")}

    ratio: Annotated[float, Field(gt=0, lt=1)]
    """Share of the prunable channels that is removed."""
    criterion: Literal["l1", "l2", "taylor", "hessian"] = "l1"
    scope: Literal["global", "layer"] = "global"
    """Whether channels of all layers compete, or each layer loses the same share."""
    max_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """Most that one layer loses in the global scope, so that none collapses."""
    round_to: Annotated[int, Field(ge=1, le=64)] = 8
    """Widths become a multiple of this: kernels work on blocks, of 4 channels in int8 and of 8 or 16 in float."""
    steps: Annotated[int, Field(ge=1, le=32)] = 1
    """Rounds of removing, between which the remaining channels are scored again."""
    reconstruct: bool = True
    """Whether the weights that remain are fitted to the original's activations on the calibration data."""

    def label(self) -> str:
        """Say what it does, and how much of it."""
        return f"prune {self.ratio:.0%}"

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Remove channels.

        Raises:
            Refusal: no channel can be removed, or the model's layers can't be followed.
        """
        from autoshrink.techniques._torch import channels
        from autoshrink.techniques._torch.layers import outputs
        from autoshrink.techniques._torch.norms import recalibrate
        from autoshrink.techniques._torch.reconstruction import Counterpart, reconstruct

        example = context.workload.example
        shapes = [tensor.shape for tensor in outputs(model, example)]
        pruned = copy.deepcopy(model)
        kept = self._remove(pruned, context, shapes, frozenset())
        if kept is None:
            # Some widths are fixed by the model's own code: find these groups and leave them alone.
            fixed = channels.fixed_roots(model, example, shapes)
            pruned = copy.deepcopy(model)
            kept = self._remove(pruned, context, shapes, fixed)
        if kept is None:
            raise Refusal("channel_pruning: the model fails with fewer channels, whichever layers are spared")
        if self.reconstruct and not context.only_shapes:
            counterparts = {name: Counterpart(name, left) for name, left in kept.items()}
            pruned = reconstruct(pruned, model, counterparts, context.workload.calibration, context.workload.task)
        else:
            recalibrate(pruned, context.workload.calibration)
        for parameter in pruned.parameters():
            parameter.grad = None
        return pruned

    def _remove(
        self, model: nn.Module, context: Context, shapes: list[Size], fixed: frozenset[str]
    ) -> dict[str, list[int]] | None:
        # The output channels that are left of each layer that lost some; None: the outputs' shapes changed.
        from autoshrink.techniques._torch import channels
        from autoshrink.techniques._torch.norms import recalibrate

        initial: dict[str, int] = {}
        kept: dict[str, list[int]] = {}
        removed = 0
        for step in range(1, self.steps + 1):
            graph, found = channels.coupled_channels(model, context.workload.example)
            groups = [group for group in found if group.root not in fixed]
            if not groups:
                raise Refusal("channel_pruning: no layer's width can change without changing inputs or outputs")
            initial = initial or {group.root: group.units for group in groups}
            importance = self._importance(model, context)
            scores = [group.score(importance) for group in groups]
            for group, units in zip(groups, channels.select(groups, scores, initial, self._limits(step)), strict=True):
                removed += len(units)
                if units:
                    for name, left in channels.remove(graph, group, units).items():
                        kept[name] = [kept[name][index] for index in left] if name in kept else left
            if not channels.gives(model, context.workload.example, shapes):
                return None
            if step < self.steps:
                recalibrate(model, context.workload.calibration)
        if not removed:
            widths = ", ".join(str(group.size) for group in groups)
            raise Refusal(
                f"channel_pruning: a ratio of {self.ratio:.3g} removes no channel when widths ({widths}) "
                f"are rounded to multiples of {self.round_to}"
            )
        return kept

    def _limits(self, step: int) -> Limits:
        from autoshrink.techniques._torch.channels import Limits

        return Limits(
            ratio=self.ratio * step / self.steps,
            max_ratio=self.max_ratio if self.scope == "global" else self.ratio,
            round_to=self.round_to if step == self.steps else 1,
            together=self.scope == "global",
        )

    def _importance(self, model: nn.Module, context: Context) -> Any:
        from torch_pruning.pruner import importance

        from autoshrink.techniques._torch.gradients import fill_gradients

        if self.criterion in ("l1", "l2"):
            return importance.GroupMagnitudeImportance(p=1 if self.criterion == "l1" else 2, normalizer=None)
        if self.criterion == "taylor":
            fill_gradients(model, context.workload, "first", context.seed)
            return importance.GroupTaylorImportance(normalizer=None)
        # Its own accumulate_grad() keeps the last example only (1.6.1), so that the gradients come filled in.
        fill_gradients(model, context.workload, "second", context.seed)
        return importance.GroupHessianImportance(normalizer=None)
