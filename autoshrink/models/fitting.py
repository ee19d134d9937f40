"""Whether model and data fit together, tried on a few examples before anything long is started."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from autoshrink.models.evaluate import outputs
from autoshrink.models.splits import Split
from autoshrink.models.user_code import UserCode

__all__ = ["check_fit"]

_FEW = 4


def check_fit(model: nn.Module, splits: Mapping[str, Split], code: UserCode) -> tuple[int, ...]:
    """Run the model on a few examples of every split.

    Returns:
        The shape of the outputs for one example.

    Raises:
        SpecError: the model fails, or gives something else than finite floats for each example.
    """
    shape: tuple[int, ...] = ()
    for name, split in splits.items():
        for probe in (split.rows(_telling(split)), split.rows(slice(0, 1))):
            shape = tuple(_checked(model, probe, name, code).shape[1:])
    return shape


def _telling(split: Split) -> Tensor:
    # The first examples, and those with the lowest and highest number: an embedding fails on what it has no row for.
    rows = set(range(min(_FEW, len(split))))
    for tensor in split.inputs:
        if tensor.dtype == torch.int64:
            flat = tensor.reshape(len(tensor), -1)
            if flat.shape[1]:
                rows |= {int(flat.amax(1).argmax()), int(flat.amin(1).argmin())}
    return torch.tensor(sorted(rows))


def _checked(model: nn.Module, probe: Split, name: str, code: UserCode) -> Tensor:
    what = f"the model fails on the {name} split (inputs {probe.describe()})"
    with code.guard(("model",), what):
        result = outputs(model, probe)
    problem = _problem(result, len(probe))
    if problem:
        raise code.source.error(("model",), f"for {name} inputs {probe.describe()} the model gives {problem}")
    return result


def _problem(result: Tensor, examples: int) -> str:
    if result.dim() == 0 or len(result) != examples:
        return f"outputs of shape {tuple(result.shape)}: the first dimension must count the examples, here {examples}"
    if not result.is_floating_point():
        return f"{str(result.dtype).removeprefix('torch.')} outputs: return the logits, not the chosen classes"
    if not torch.isfinite(result).all():
        return "outputs that are NaN or infinite"
    if result.dim() == 2 and result.shape[1] > 1 and (result >= 0).all() and ((result.sum(1) - 1).abs() < 1e-4).all():
        return "probabilities: return the logits, without the softmax at the end"
    return ""
