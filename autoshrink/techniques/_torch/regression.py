"""Linear layers and convolutions as linear regressions: their rows, and a ridge that chooses its own strength."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Regression", "given", "rows", "taken"]

_RIDGES = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-6, 1e-8)
"""Relative to the mean of the diagonal of the normal equations."""
_BETTER = 0.99
"""What a weaker ridge has to lower the error to: between equals the stronger one is safer."""


def given(module: nn.Module, result: Tensor) -> Tensor:
    """View a layer's output with its channels last, shape (examples, …, channels)."""
    return result if isinstance(module, nn.Linear) else result.movedim(1, -1)


def taken(module: nn.Module, inputs: Tensor) -> Tensor:
    """View what each position of a layer's output is a linear function of.

    Returns:
        Shape (examples, …, channels) for a linear layer, (examples, …, *kernel, channels) for a convolution, with the
        positions of its output; this view overlaps itself: take rows of it, don't copy it.
    """
    if isinstance(module, nn.Linear):
        return inputs
    conv: Any = module
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    padded = functional.pad(inputs, conv._reversed_padding_repeated_twice, mode).movedim(1, -1).contiguous()
    example, *steps, channel = padded.stride()
    spans = zip(padded.shape[1:-1], conv.kernel_size, conv.dilation, conv.stride, strict=True)
    positions = [(size - dilation * (kernel - 1) - 1) // stride + 1 for size, kernel, dilation, stride in spans]
    strides = [step * stride for step, stride in zip(steps, conv.stride, strict=True)]
    taps = [step * dilation for step, dilation in zip(steps, conv.dilation, strict=True)]
    shape = (len(padded), *positions, *conv.kernel_size, padded.shape[-1])
    return padded.as_strided(shape, (example, *strides, *taps, channel))


def rows(view: Tensor, index: Tensor, dimensions: int) -> Tensor:
    """Take rows of a view that its first dimensions count, shape (rows, everything else)."""
    return view[torch.unravel_index(index, view.shape[:dimensions])].flatten(1)


class Regression:
    """A ridge regression with several outputs, whose normal equations are summed up in double precision.

    What is held out at first chooses the strength of the ridge; then everything is fitted.

    Args:
        inputs: regressors.
        outputs: regressands.
        constant: whether a constant is fitted as well, which the ridge leaves alone.

    References:
        Hoerl, Kennard 1970, "Ridge Regression: Biased Estimation for Nonorthogonal Problems".
    """

    def __init__(self, inputs: int, outputs: int, constant: bool) -> None:
        size = inputs + constant
        self._inputs = inputs
        # Two of each: what is fitted at first, and what is held out.
        self._gram = torch.zeros(2, size, size, dtype=torch.double)
        self._cross = torch.zeros(2, size, outputs, dtype=torch.double)
        self._power = [0.0, 0.0]

    def add(self, inputs: Tensor, outputs: Tensor, *, held: bool) -> None:
        """Add rows, shapes (rows, inputs) and (rows, outputs)."""
        x, y = inputs.double(), outputs.double()
        if len(self._gram[0]) > self._inputs:
            x = torch.cat((x, x.new_ones(len(x), 1)), 1)
        self._gram[int(held)].addmm_(x.T, x)
        self._cross[int(held)].addmm_(x.T, y)
        self._power[held] += float(y.square().sum())

    def solve(self) -> Tensor | None:
        """Solve for the weights, shape (inputs, outputs) and one row more for the constant.

        None where they explain nothing of what was held out.
        """
        best, least = None, self._power[True]
        for ridge in _RIDGES:
            weights = self._solved(self._gram[0], self._cross[0], ridge)
            error = least if weights is None else self._error(weights)
            if not error < _BETTER * least:
                break
            best, least = ridge, error
        return None if best is None else self._solved(self._gram.sum(0), self._cross.sum(0), best)

    def _error(self, weights: Tensor) -> float:
        explained = weights * (self._gram[1] @ weights - 2 * self._cross[1])
        return float(explained.sum()) + self._power[True]

    def _solved(self, gram: Tensor, cross: Tensor, ridge: float) -> Tensor | None:
        penalty = torch.zeros(len(gram), dtype=torch.double)
        penalty[: self._inputs] = ridge * gram.diagonal()[: self._inputs].mean()
        factor, failed = torch.linalg.cholesky_ex(gram + penalty.diag())
        return None if failed else torch.cholesky_solve(cross, factor)
