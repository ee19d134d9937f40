"""The sensitivity table of a model: how much each layer bears of each way to compress it. No technique by itself."""

from __future__ import annotations

import contextlib
import copy
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from autoshrink.core import LayerSensitivity, Option, Refusal, Sensitivity

if TYPE_CHECKING:
    from autoshrink.models.workload import Workload

__all__ = ["sensitivity_of"]

_RATIOS = tuple(tenth / 10 for tenth in range(1, 10))
_EXAMPLES = 64
_FEWEST = 8
_MOST_MACS = 1e12
"""What a table may cost; larger models are asked fewer examples."""


def sensitivity_of(workload: Workload, seed: int = 0) -> Sensitivity:
    """Measure the table of a workload's model.

    Each layer is compressed alone, in each way and strength: channels of its coupled group removed by l2 norm, the rank
    lowered by Tucker's form or the singular value decomposition, the weights rounded. The model then answers the same
    calibration examples as before. Measured losses are used since the second-order estimate 0.5·Σ Fᵢᵢ·Δwᵢ² with the
    empirical Fisher information F ranks rounding as well (Spearman 0.96–0.99), but pruning badly (0.6–0.9), whose loss
    it puts a thousand times too low; and a forward pass costs no more than a gradient.

    Args:
        workload: model and calibration data; nothing in it is changed.
        seed: draws the examples among the calibration split, 64 of them or fewer for a large model.

    References:
        LeCun et al. 1989, "Optimal Brain Damage" (the second-order estimate);
        Wang et al. 2019, "HAQ: Hardware-Aware Automated Quantization with Mixed Precision" and Li et al. 2017, "Pruning
        Filters for Efficient ConvNets" (the sensitivity of single layers, measured).
    """
    import torch

    from autoshrink.models.counting import module_macs
    from autoshrink.models.evaluate import outputs
    from autoshrink.models.losses import task_loss
    from autoshrink.techniques._torch import layer_losses
    from autoshrink.techniques._torch.answers import Answers
    from autoshrink.techniques._torch.layers import bake, weights

    begun = time.perf_counter()
    model = bake(copy.deepcopy(workload.model)).requires_grad_(True).eval()
    example = workload.example
    macs = module_macs(model, example)
    found = weights(model)
    tries = len(found) * (2 * len(_RATIOS) + len(layer_losses.FORMATS))
    count = int(_MOST_MACS / max(2 * macs[""] * tries, 1))
    drawn = torch.randperm(len(workload.calibration), generator=torch.Generator().manual_seed(seed))
    examples = workload.calibration.rows(drawn[: max(_FEWEST, min(_EXAMPLES, count))].sort().values)

    options: dict[str, list[Option]] = defaultdict(list)
    groups: dict[str, str] = {}
    again = Answers(copy.deepcopy(model), examples, workload.task, norms=True)
    with contextlib.suppress(Refusal):  # of a model that can't be followed no channels are removed
        for root, givers, losses in layer_losses.pruned(model, example, again, _RATIOS):
            for name in givers if losses else ():
                groups[name] = root
                options[name] += losses
    for weight, losses in layer_losses.rounded_to(model, Answers(model, examples, workload.task, norms=False)):
        options[weight.name] += losses
    base = float(task_loss(outputs(model, examples), examples.labels, workload.task))
    for name, losses in layer_losses.rank_reduced(model, example, again, _RATIOS):
        options[name] += losses

    layers = tuple(
        LayerSensitivity(
            name=weight.name,
            type=type(weight.module).__name__,
            weights=weight.tensor.numel(),
            macs=macs.get(weight.name, 0.0),
            group=groups.get(weight.name, ""),
            options=tuple(options[weight.name]),
        )
        for weight in found
    )
    return Sensitivity(
        workload=workload.key,
        seed=seed,
        measure="squared_error" if workload.task == "regression" else "kl_divergence",
        base_loss=base,
        examples=len(examples),
        seconds=time.perf_counter() - begun,
        layers=layers,
    )
