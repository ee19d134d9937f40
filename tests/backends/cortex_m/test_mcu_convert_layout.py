"""Views follow torch's permutations and reshapes; windows and pads are torch's, whatever their sizes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from autoshrink.backends.cortex_m.convert import convert
from autoshrink.backends.cortex_m.convert.views import View, port_of
from autoshrink.backends.cortex_m.oracle import ask
from autoshrink.backends.cortex_m.write_tflite import write_tflite
from autoshrink.core import Encoding, Refusal
from autoshrink.models.splits import Split

INT8 = Encoding(scheme="static", weight_bits=8)


@st.composite
def journeys(draw):
    """A shape and a chain of permutations and reshapes."""
    shape = draw(st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=2, max_size=4))
    order = draw(st.permutations(range(len(shape))))
    steps, current = [], list(shape)
    for _ in range(draw(st.integers(1, 4))):
        if draw(st.booleans()):
            permutation = draw(st.permutations(range(len(current))))
            current = [current[dim] for dim in permutation]
            steps.append(("permute", permutation))
        else:
            count = math.prod(current)
            divisors = [size for size in range(1, count + 1) if count % size == 0]
            size = draw(st.sampled_from(divisors))
            current = [size, count // size]
            steps.append(("reshape", list(current)))
    return shape, order, steps


@given(journeys())
@settings(max_examples=150, deadline=None)
def test_a_view_follows_torch(journey):
    shape, order, steps = journey
    array = torch.arange(math.prod(shape)).reshape(1, *shape)
    memory = array.numpy().transpose(0, *(dim + 1 for dim in order)).reshape(1, -1)
    view = View.of(array.shape, (0, *(dim + 1 for dim in order)))
    for kind, setting in steps:
        if kind == "permute":
            moves = (0, *(dim + 1 for dim in setting))
            array, view = array.permute(moves), view.permute(moves)
        else:
            try:
                view = view.reshape((1, *setting))
            except Refusal:
                return  # it would cut an axis off its grid
            array = array.reshape(1, *setting)
    port = port_of(view, memory.shape)
    assert np.array_equal(port.to_torch(memory), array.numpy())
    assert np.array_equal(port.to_file(array.numpy()), memory)


@st.composite
def windows(draw):
    """A convolution or a pool over an image, with everything that torch lets one set."""
    kind = draw(st.sampled_from(["conv", "depthwise", "max", "average", "same"]))
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    size = draw(st.tuples(st.integers(8, 12), st.integers(8, 12)))
    channels, out = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    if kind == "same":
        return nn.Conv2d(channels, out, kernel, padding="same"), (channels, *size)
    if kind in ("max", "average"):
        pads = tuple(draw(st.integers(0, side // 2)) for side in kernel)
        rounds_up = draw(st.booleans())
        pool = nn.MaxPool2d(kernel, stride, pads, ceil_mode=rounds_up)
        return pool if kind == "max" else nn.AvgPool2d(kernel, stride, pads), (channels, *size)
    pads = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    groups = channels if kind == "depthwise" else 1
    return nn.Conv2d(channels, out * groups, kernel, stride, pads, dilation, groups), (channels, *size)


@given(windows(), st.integers(0, 2**16))
@settings(max_examples=15, deadline=None)
def test_windows_are_those_of_torch(window, seed):
    layer, shape = window
    torch.manual_seed(seed)
    model = nn.Sequential(layer).eval()
    inputs = torch.randn(8, *shape)
    result = convert(model, Split((inputs[:1],)), INT8, Split((inputs,)))
    with torch.no_grad():
        wanted = model(inputs).numpy()
    port = result.inputs[0]
    given_by_file = result.output.to_torch(ask(write_tflite(result.graph), [port.to_file(inputs.numpy())]).outputs)
    step = result.graph.tensors[result.graph.outputs[0]].scale
    weights = layer.weight.detach().abs().flatten(1).sum(1).max().item() if isinstance(layer, nn.Conv2d) else 1.0
    source = result.graph.tensors[result.graph.inputs[0]].scale
    # Half a step of the output, and of every input and weight that is summed.
    reach = math.prod(layer.weight.shape[1:]) if isinstance(layer, nn.Conv2d) else 0
    largest = inputs.abs().max().item()
    grain = layer.weight.detach().abs().max().item() / 127 / 2 if reach else 0.0
    allowed = step + source * weights + reach * grain * (largest + source)
    assert np.abs(given_by_file - wanted).max() <= allowed


@pytest.mark.parametrize(("size", "kind"), [(9, "same"), (8, "padded"), (10, "padded")])
def test_symmetric_padding_is_written_as_same_only_where_it_is(size, kind):
    model = nn.Sequential(nn.Conv2d(2, 3, 3, stride=2, padding=1)).eval()
    inputs = torch.randn(4, 2, size, size)
    graph = convert(model, Split((inputs[:1],)), INT8, Split((inputs,))).graph
    names = [op.kind for op in graph.ops]
    assert names == (["CONV_2D"] if kind == "same" else ["PAD", "CONV_2D"])
    if kind == "padded":
        # Only what the window reaches is padded: above and left.
        padded = graph.tensors[graph.ops[0].outputs[0]]
        assert padded.shape == (1, size + 1, size + 1, 2)


def test_channels_first_features_are_reordered_in_the_weights():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 6 * 5, 3)).eval()
    inputs = torch.randn(16, 1, 8, 7)
    result = convert(model, Split((inputs[:1],)), INT8, Split((inputs,)))
    assert [op.kind for op in result.graph.ops] == ["CONV_2D", "RESHAPE", "FULLY_CONNECTED"]
    with torch.no_grad():
        wanted = model(inputs).numpy()
    answer = ask(write_tflite(result.graph), [result.inputs[0].to_file(inputs.numpy())]).outputs
    assert np.abs(answer - wanted).max() < 0.05 * np.abs(wanted).max()
