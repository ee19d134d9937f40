"""Counts: multiply-accumulates by hand, and answers without a change of mode."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from autoshrink.models.counting import count
from autoshrink.models.evaluate import outputs, predict
from autoshrink.models.metrics import accuracy, class_axis, macro_f1, negative_mse
from autoshrink.models.splits import Split, forward

SEQUENCE = torch.randn(1, 16, 32)
MODELS = {
    "linear": (nn.Linear(32, 8), SEQUENCE, 16 * 32 * 8),
    "grouped convolution": (nn.Conv1d(16, 8, 3, padding=1, groups=2), SEQUENCE, 32 * 8 * 8 * 3),
    "strided convolution": (nn.Conv2d(3, 8, 3, stride=2, padding=1), torch.randn(1, 3, 8, 8), 16 * 8 * 3 * 9),
    "GRU": (nn.GRU(32, 24, batch_first=True), SEQUENCE, 16 * 3 * (24 * 32 + 24 * 24)),
    "LSTM": (nn.LSTM(32, 24, batch_first=True), SEQUENCE, 16 * 4 * (24 * 32 + 24 * 24)),
    "attention": (
        nn.TransformerEncoderLayer(32, 4, 64, batch_first=True),
        SEQUENCE,
        16 * (4 * 32 * 32 + 2 * 32 * 64) + 2 * 16 * 16 * 32,
    ),
}


@pytest.mark.parametrize(("model", "inputs", "macs"), MODELS.values(), ids=MODELS.keys())
def test_macs_are_those_counted_by_hand(model: nn.Module, inputs: torch.Tensor, macs: int) -> None:
    counted = count(model.eval(), Split((inputs,)))
    assert counted["macs"] == macs
    assert counted["parameters"] == sum(parameter.numel() for parameter in model.parameters())


def test_counting_leaves_the_kernels_as_they_were() -> None:
    before = torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled
    count(nn.Linear(32, 8), Split((SEQUENCE,)))
    assert (torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled) == before


def test_zeros_are_counted() -> None:
    layer = nn.Linear(10, 4, bias=False)
    with torch.no_grad():
        layer.weight.fill_(1)[:, :3] = 0
    assert count(layer, Split((torch.randn(1, 10),)))["nonzero"] == 28


def test_predictions_do_not_depend_on_the_batch_and_keep_the_mode() -> None:
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 3))
    model.train()
    model[1].eval()
    split = Split((torch.randn(50, 6),))
    whole = predict(model, split)
    assert whole.shape == (50, 3)
    assert np.allclose(predict(model, split, batch=7), whole, atol=1e-6)
    assert model.training
    assert model[2].training
    assert not model[1].training
    assert outputs(model, split).requires_grad is False


@pytest.mark.parametrize(
    "wrap", [lambda y: y, lambda y: (y, None), lambda y: {"a": 0, "logits": y}, lambda y: {"a": [y]}]
)
def test_the_first_output_counts(wrap) -> None:
    class Wrapped(nn.Module):
        def forward(self, x: torch.Tensor) -> object:
            return wrap(x + 1)

    assert torch.equal(forward(Wrapped(), Split((torch.zeros(2, 3),))), torch.ones(2, 3))


@pytest.mark.parametrize("result", [(), {}, None, 3.0, "text", [None]])
def test_an_output_that_is_no_tensor(result: object) -> None:
    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> object:
            return result

    with pytest.raises(TypeError, match="not a tensor"):
        forward(Odd(), Split((torch.zeros(2, 3),)))


@pytest.mark.parametrize(
    ("outputs_shape", "labels_shape", "axis"),
    [
        ((5, 3), (5,), 1),
        ((5, 3, 8, 8), (5, 8, 8), 1),
        ((5, 7, 3), (5, 7), 2),
        ((5, 3), None, 1),
        ((5, 7, 3), None, 2),
        ((5, 3, 8, 8), None, 1),
    ],
)
def test_where_the_classes_stand(outputs_shape, labels_shape, axis: int) -> None:
    assert class_axis(outputs_shape, labels_shape) == axis


def test_metrics_by_hand() -> None:
    scores = np.array([[2.0, 1], [0, 3], [1, 0], [5, 4]])
    labels = np.array([0, 1, 1, 0])
    assert accuracy(scores, labels) == 0.75
    # class 0: precision 2/3, recall 1; class 1: precision 1, recall 1/2
    assert macro_f1(scores, labels) == pytest.approx((0.8 + 2 / 3) / 2)
    assert negative_mse(np.array([[1.0], [2.0]]), np.array([2.0, 4.0])) == -2.5
