"""Weights as integers: the grid, biases in reach of 32 bits, codebooks that survive."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from autoshrink.backends.cortex_m.convert import convert
from autoshrink.backends.cortex_m.convert.network import Node, Window
from autoshrink.backends.cortex_m.convert.weights import quantize_weights
from autoshrink.core import Encoding
from autoshrink.models.splits import Split

INT8 = Encoding(scheme="static", weight_bits=8)
INT4 = Encoding(scheme="static", weight_bits=4)


def node(weight, gain=None, bias=None, kind="conv"):
    out = weight.shape[-1] if kind == "depthwise" else len(weight)
    gain = np.ones(out) if gain is None else gain
    return Node(
        kind, ("x",), "y", window=Window((1, 1)), weight=weight, gain=gain, bias=np.zeros(out) if bias is None else bias
    )


def restored(found, kind="conv"):
    scales = found.scales if kind == "depthwise" else found.scales.reshape(-1, *[1] * (found.values.ndim - 1))
    return found.values * scales


@given(st.integers(0, 2**16), st.sampled_from(["conv", "depthwise"]), st.sampled_from(["per_channel", "per_tensor"]))
@settings(max_examples=40, deadline=None)
def test_weights_are_within_half_a_step(seed, kind, granularity):
    rng = np.random.default_rng(seed)
    shape = (1, 3, 3, 6) if kind == "depthwise" else (6, 3, 3, 4)
    weight, gain, bias = rng.normal(size=shape), rng.normal(size=6), rng.normal(size=6)
    encoding = INT8.model_copy(update={"granularity": granularity})
    found = quantize_weights(node(weight, gain, bias, kind), encoding, 0.05)
    across = gain if kind == "depthwise" else gain[:, None, None, None]
    steps = found.scales if kind == "depthwise" else found.scales[:, None, None, None]
    assert (np.abs(restored(found, kind) - weight * across) <= steps * 0.5001).all()
    assert np.abs(found.values).max() == 127
    assert (np.abs(found.bias * found.scales.astype(float) * 0.05 - bias) <= found.scales * 0.05).all()
    assert (len(set(found.scales)) == 1) == (granularity == "per_tensor")


def test_four_bits_clip_what_pays():
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(8, 3, 3, 16))
    found = quantize_weights(node(weight), INT4, 0.05)
    assert np.abs(found.values).max() == 7
    plain = np.abs(weight.reshape(8, -1)).max(1)[:, None, None, None] / 7
    rounded = np.rint(weight / plain) * plain
    assert ((restored(found) - weight) ** 2).mean() < 0.9 * ((rounded - weight) ** 2).mean()


def test_weights_on_a_grid_stay_there():
    rng = np.random.default_rng(0)
    grid = rng.integers(-7, 8, (5, 2, 2, 9))
    grid[:, 0, 0, 0] = 7
    steps = rng.uniform(0.01, 0.1, 5)
    found = quantize_weights(node(grid * steps[:, None, None, None]), INT4, 0.05)
    assert np.array_equal(found.values, grid)


@pytest.mark.parametrize("bias", [0.0, 1e-3, 1e4])
def test_channels_of_zeros_keep_their_bias(bias):
    weight = np.zeros((3, 1, 1, 4))
    weight[1] = 0.5
    found = quantize_weights(node(weight, bias=np.array([bias, 0.0, -bias])), INT8, 0.02)
    assert (found.scales > 0).all()
    assert np.isfinite(found.scales).all()
    assert not found.values[[0, 2]].any()
    assert found.bias * found.scales * 0.02 == pytest.approx([bias, 0, -bias], rel=1e-3, abs=1e-3)


def test_a_layer_of_zeros_is_fine():
    found = quantize_weights(node(np.zeros((2, 1, 1, 3))), INT8, 0.02)
    assert not found.values.any()
    assert (found.scales > 0).all()


@pytest.mark.parametrize("kind", ["conv", "depthwise"])
@pytest.mark.parametrize("signs", ["positive", "mixed", "negative"])
def test_a_codebook_survives_what_is_folded_into_it(kind, signs):
    rng = np.random.default_rng(1)
    entries = np.sort(rng.normal(size=16))
    shape = (1, 3, 3, 12) if kind == "depthwise" else (12, 3, 3, 8)
    weight = entries[rng.integers(0, 16, shape)]
    gain = rng.uniform(0.3, 3, 12)
    if signs == "mixed":
        gain[::5] *= -1
    elif signs == "negative":
        gain *= -1
    found = quantize_weights(node(weight, gain, kind=kind), INT8.model_copy(update={"codebook": 16}), 0.05)
    assert len(np.unique(found.values)) <= 16
    across = gain if kind == "depthwise" else gain[:, None, None, None]
    error = np.abs(restored(found, kind) - weight * across) / np.abs(across)
    if signs != "mixed":
        assert error.max() <= np.abs(entries).max() / 127 * 0.51
    else:
        assert error.mean() < 0.1 * np.abs(entries).mean()


def test_a_layer_without_a_codebook_is_left_alone():
    weight = np.random.default_rng(2).normal(size=(4, 1, 1, 30))
    wished = INT8.model_copy(update={"codebook": 16})
    assert np.array_equal(
        quantize_weights(node(weight), wished, 0.1).values, quantize_weights(node(weight), INT8, 0.1).values
    )


def test_shared_weights_of_a_network_stay_shared():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 5)).eval()
    with torch.no_grad():
        model[1].running_var.uniform_(0.2, 2)
        for layer in (model[0], model[4]):
            entries = torch.randn(16) * 0.1
            layer.weight.copy_(entries[torch.randint(0, 16, layer.weight.shape)])
    inputs = torch.randn(16, 3, 8, 8)
    encoding = INT8.model_copy(update={"codebook": 16, "granularity": "per_tensor"})
    graph = convert(model, Split((inputs[:1],)), encoding, Split((inputs,))).graph
    weights = [tensor.data for tensor in graph.tensors if tensor.name.endswith("/weight")]
    assert len(weights) == 2
    assert all(len(np.unique(values)) <= 16 for values in weights)


def test_entries_of_a_codebook_have_eight_bits():
    entries = np.random.default_rng(3).normal(size=16)
    weight = entries[np.random.default_rng(4).integers(0, 16, (6, 3, 3, 8))]
    four, eight = (
        quantize_weights(node(weight), encoding.model_copy(update={"codebook": 16}), 0.1) for encoding in (INT4, INT8)
    )
    assert four.bits == eight.bits == 8
    assert np.array_equal(four.values, eight.values)
    assert quantize_weights(node(weight), INT4, 0.1).bits == 4
