"""Linear layers and convolutions as linear regressions: their rows, their normal equations, their solution."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Regression", "given", "rows", "taken"]

_CHUNK = 4096
_RIDGES = (1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Relative to the mean of the diagonal of the normal equations."""
_HELD = 4
"""Every so many-th example chooses the ridge."""


def given(module: nn.Module, result: Tensor) -> Tensor:
    """View a layer's output with its channels last, shape (examples, …, channels)."""
    return result if isinstance(module, nn.Linear) else result.movedim(1, -1)


def taken(module: nn.Module, inputs: Tensor) -> Tensor:
    """View what each position of a layer's output is a linear function of.

    Returns:
        Shape (examples, …, channels) for a linear layer, (examples, …, channels, *kernel) for a convolution, with the
        positions of its output; a view that overlaps itself: take rows of it, don't copy it.
    """
    if isinstance(module, nn.Linear):
        return inputs
    conv: Any = module
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    padded = functional.pad(inputs, conv._reversed_padding_repeated_twice, mode).contiguous()
    example, channel, *steps = padded.stride()
    spans = zip(padded.shape[2:], conv.kernel_size, conv.dilation, conv.stride, strict=True)
    positions = [(size - dilation * (kernel - 1) - 1) // stride + 1 for size, kernel, dilation, stride in spans]
    return padded.as_strided(
        (len(padded), *positions, padded.shape[1], *conv.kernel_size),
        (
            example,
            *(step * stride for step, stride in zip(steps, conv.stride, strict=True)),
            channel,
            *(step * dilation for step, dilation in zip(steps, conv.dilation, strict=True)),
        ),
    )


def rows(view: Tensor, index: Tensor, dimensions: int) -> Tensor:
    """Take rows of a view whose first dimensions count them, shape (rows, everything else)."""
    return view[torch.unravel_index(index, view.shape[:dimensions])].flatten(1)


class Regression:
    """The normal equations of a ridge regression with several outputs, summed up in double precision.

    Every fourth example is held out at first: it chooses how strong the ridge is.

    Args:
        inputs: regressors.
        outputs: regressands.
        constant: whether a constant is fitted as well.
    """

    def __init__(self, inputs: int, outputs: int, constant: bool) -> None:
        self._inputs, self._constant = inputs, constant
        size = inputs + constant
        self._gram = torch.zeros(2, size, size, dtype=torch.double)
        self._cross = torch.zeros(2, size, outputs, dtype=torch.double)
        self._power = torch.zeros(2, dtype=torch.double)

    def add(self, inputs: Tensor, outputs: Tensor, held: bool) -> None:
        """Add rows, shapes (rows, inputs) and (rows, outputs)."""
        x, y = inputs.double(), outputs.double()
        if self._constant:
            x = torch.cat((x, x.new_ones(len(x), 1)), 1)
        part = int(held)
        self._gram[part].addmm_(x.T, x)
        self._cross[part].addmm_(x.T, y)
        self._power[part] += y.square().sum()

    def solve(self) -> Tensor | None:
        """Solve for the weights, shape (inputs [+ 1], outputs); None where they do no good on what was held out."""
        best, least = None, float(self._power[1])
        for ridge in _RIDGES:
            weights = self._solved(self._gram[0], self._cross[0], ridge)
            if weights is None:
                continue
            error = float((weights * (self._gram[1] @ weights - 2 * self._cross[1])).sum() + self._power[1])
            if error < least:
                best, least = ridge, error
        self.chosen = best, least / max(float(self._power[1]), 1e-300)
        return None if best is None else self._solved(self._gram.sum(0), self._cross.sum(0), best)

    def _solved(self, gram: Tensor, cross: Tensor, ridge: float) -> Tensor | None:
        diagonal = gram.diagonal()[: self._inputs]
        added = torch.zeros(len(gram), dtype=torch.double)
        added[: self._inputs] = ridge * diagonal.mean()
        factor, failed = torch.linalg.cholesky_ex(gram + added.diag())
        return None if failed else torch.cholesky_solve(cross, factor)
