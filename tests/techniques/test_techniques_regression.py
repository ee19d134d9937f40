"""Layers as linear regressions: the rows of every kind of layer, and the ridge that chooses its strength."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given as example_of
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor, nn

from autoshrink.techniques._torch.regression import Regression, given, rows, taken

LAYERS = {
    "linear": (nn.Linear(6, 5), (4, 6)),
    "linear on positions": (nn.Linear(6, 5), (4, 3, 7, 6)),
    "plain": (nn.Conv2d(6, 5, 3), (4, 6, 9, 8)),
    "strided, dilated, padded, oblong": (nn.Conv2d(6, 5, (3, 2), (1, 2), (2, 1), (2, 1)), (4, 6, 9, 8)),
    "padded to the same": (nn.Conv2d(6, 5, (3, 5), padding="same", dilation=(2, 1)), (4, 6, 9, 8)),
    "padded by reflection": (nn.Conv2d(6, 5, 3, 2, padding=1, padding_mode="reflect"), (4, 6, 9, 8)),
    "padded in a circle": (nn.Conv1d(6, 5, 5, padding=2, padding_mode="circular"), (4, 6, 9)),
    "of one dimension": (nn.Conv1d(6, 5, 3, stride=2), (4, 6, 9)),
    "of three dimensions": (nn.Conv3d(6, 5, 3, padding=(0, 1, 0)), (4, 6, 5, 4, 3)),
    "pointwise": (nn.Conv2d(6, 5, 1, stride=2), (4, 6, 9, 8)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_rows_times_weights_are_the_layer(name: str) -> None:
    layer, shape = LAYERS[name]
    inputs = torch.randn(shape)
    with torch.no_grad():
        result = given(layer, layer(inputs))
        view, lead = taken(layer, inputs), result.dim() - 1
        assert view.shape[:lead] == result.shape[:-1]
        index = torch.randperm(result[..., 0].numel())[:10]
        weight = layer.weight.movedim(1, -1).flatten(1)
        torch.testing.assert_close(rows(view, index, lead) @ weight.T + layer.bias, rows(result, index, lead))


def fitted(x: Tensor, y: Tensor, constant: bool = True) -> Tensor | None:
    regression = Regression(x.shape[1], y.shape[1], constant)
    for start in range(0, len(x), 7):
        regression.add(x[start : start + 7], y[start : start + 7], held=start % 4 == 3)
    return regression.solve()


@settings(max_examples=30)
@example_of(st.integers(1, 12), st.integers(1, 4), st.booleans(), st.integers(0, 99), st.floats(-6, 6))
def test_what_is_linear_is_found(inputs: int, outputs: int, constant: bool, seed: int, exponent: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(200, inputs, generator=generator) * 10**exponent
    wanted = torch.randn(inputs + constant, outputs, generator=generator, dtype=torch.double)
    y = x.double() @ wanted[:inputs] + (wanted[-1] * 10**exponent if constant else 0)
    weights = fitted(x, y, constant)
    scale = torch.ones(len(wanted), 1, dtype=torch.double)
    if constant:
        scale[-1] = 10**exponent
    torch.testing.assert_close(weights / scale, wanted, atol=1e-4, rtol=1e-4)


@settings(max_examples=30)
@example_of(st.integers(8, 40), st.integers(1, 60), st.integers(0, 99), st.sampled_from([0.0, 0.1, 1.0]))
def test_nothing_blows_up_with_few_rows_or_copied_inputs(count: int, inputs: int, seed: int, noise: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, inputs, generator=generator).repeat(1, 2)  # every input twice
    y = x[:, :1] + noise * torch.randn(count, 1, generator=generator)
    weights = fitted(x, y)
    if weights is not None:
        assert weights.abs().max() < 10
        assert (x.double() @ weights[:-1] + weights[-1] - y).square().sum() <= y.square().sum()


@pytest.mark.parametrize("x", [torch.zeros(40, 3), torch.full((40, 3), 1e30), torch.full((40, 3), float("nan"))])
def test_what_can_not_be_fitted_is_said(x: Tensor) -> None:
    assert fitted(x, torch.zeros(40, 2)) is None


def test_noise_is_not_fitted() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(64, size, generator=generator) for size in (48, 4))
    weights = fitted(x, y, constant=False)
    assert weights is None or weights.norm() < 0.5 * torch.linalg.lstsq(x, y).solution.norm()
