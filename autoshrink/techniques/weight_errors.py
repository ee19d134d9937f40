"""What a file's number format does to the weights of each layer, compared with the floats. No technique by itself."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import nn

    from autoshrink.models.splits import Split

__all__ = ["FloatWeight", "WeightError", "float_weights", "weight_errors"]

_STRANGE = 0.7
"""With such a relative error a tensor of the same shape is another layer's."""
_EXACT = 1e-6
"""Below this relative error nothing was rounded."""


@dataclass(frozen=True)
class FloatWeight:
    """One weight before the encoding: as the module has it, and with the batch norm after it folded in."""

    name: str
    type: str
    forms: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class WeightError:
    """How far a layer's weights in the file are from the floats that they were made of."""

    name: str
    type: str
    weights: int
    zeros: int
    """Floats that are zero already, by pruning."""
    error: float | None
    """Root of the mean squared error over the root of the mean squared weight; 0 where nothing was rounded, None where
    the file holds no tensor that belongs to the layer."""

    @property
    def sqnr(self) -> float | None:
        """Signal-to-quantization-noise ratio in dB; infinite where nothing was rounded."""
        return None if self.error is None else -20 * math.log10(self.error) if self.error else math.inf


def float_weights(model: nn.Module, example: Split) -> list[FloatWeight]:
    """Give the weights of a model's layers.

    Args:
        model: as its recovery left it, before any encoding; it stays as it is.
        example: one example, which shows what follows what.
    """
    from autoshrink.techniques._torch.fake_quantization import fold_norms

    plain = _named(model)
    folded = _named(fold_norms(copy.deepcopy(model), example))
    return [
        FloatWeight(name, kind, (weight, *([folded[name][1]] if name in folded else [])))
        for name, (kind, weight) in plain.items()
    ]


def weight_errors(floats: Sequence[FloatWeight], stored: Sequence[np.ndarray]) -> tuple[WeightError, ...]:
    """Find each float weight among a file's, and tell how far it is from it.

    A runtime has names and layouts of its own: a weight's own tensor is the one of its dimensions, in any order of
    axes, that is nearest to it.
    """
    found = []
    for item in floats:
        errors = (_distance(form, axes) for form in item.forms for array in stored for axes in _views(array, form))
        least = min(errors, default=math.inf)
        error = None if least > _STRANGE else least if least > _EXACT else 0.0
        weight = item.forms[0]
        found.append(WeightError(item.name, item.type, weight.size, int((weight == 0).sum()), error))
    return tuple(found)


def _named(model: nn.Module) -> dict[str, tuple[str, np.ndarray]]:
    from autoshrink.techniques._torch.layers import weights

    return {
        weight.name if weight.attribute == "weight" else f"{weight.name}.{weight.attribute}": (
            type(weight.module).__name__,
            weight.tensor.clone().numpy(),
        )
        for weight in weights(model)
    }


def _views(array: np.ndarray, like: np.ndarray) -> Iterator[np.ndarray]:
    one, wanted = np.squeeze(array), np.squeeze(like).shape
    if sorted(one.shape) == sorted(wanted):
        for order in itertools.permutations(range(one.ndim)):
            if tuple(one.shape[axis] for axis in order) == wanted:
                yield one.transpose(order)


def _distance(weight: np.ndarray, other: np.ndarray) -> float:
    own = np.squeeze(weight).astype(np.float64)
    size = float(np.sqrt(np.mean(own * own)))
    return float(np.sqrt(np.mean(np.square(other - own)))) / size if size else math.inf
