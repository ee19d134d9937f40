"""Reading .tflite files, and what is said of those that can't be used."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcu_examples import EXAMPLES, mobile
from mcu_networks import Networks, Node, fb

from autoshrink.backends.cortex_m.generate import generate
from autoshrink.backends.cortex_m.read_tflite import read_tflite
from autoshrink.core import Refusal, SpecError

MODEL = mobile(Networks(0))


def test_a_network_is_read_as_it_was_written():
    net = Networks(0)
    x = net.conv(net.input((1, 5, 4, 3), 0.5, -3), 6, (3, 2), (2, 1), "valid", activation="relu6")
    graph = read_tflite(net.finish(net.dense(x, 2, bits=4)))
    first, last = graph.ops
    given, filters, bias = (graph.tensors[index] for index in first.inputs)
    assert (first.kind, last.kind) == ("CONV_2D", "FULLY_CONNECTED")
    assert first.options == {
        "padding": "valid", "stride_h": 2, "stride_w": 1, "dilation_h": 1, "dilation_w": 1, "activation": "relu6",
    }  # fmt: skip
    assert (given.shape, given.dtype, given.scale, given.zero_point) == ((1, 5, 4, 3), "int8", 0.5, -3)
    assert (filters.shape, len(filters.scales), filters.axis) == ((6, 3, 2, 3), 6, 0)
    assert (bias.dtype, bias.data.shape) == ("int32", (6,))
    weights = graph.tensors[last.inputs[1]]
    assert weights.dtype == "int4"
    assert weights.data.min() >= -8
    assert weights.data.max() <= 7
    assert weights.nbytes == (weights.size + 1) // 2


def test_four_bit_integers_are_unpacked_low_half_first():
    net = Networks(0)
    x = net.dense(net.input((1, 3)), 2, bits=4)
    stored = bytes(net.model.buffers[1].data)
    data = read_tflite(net.finish(x)).tensors[1].data.reshape(-1)
    halves = [half for byte in stored for half in (byte & 15, byte >> 4)]
    assert data.tolist() == [half - 16 * (half > 7) for half in halves]


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_can_be_generated_for_every_core(name, tmp_path):
    graph = read_tflite(EXAMPLES[name]())
    for core in ("m0plus", "m3", "m4f", "m7", "m33", "m55", "cortex-m4"):
        assert generate(graph, tmp_path / core, core=core).arena_bytes >= 0


@settings(max_examples=60, deadline=None)
@given(size=st.integers(0, len(MODEL) - 1))
def test_a_file_that_is_cut_off_is_an_error_that_says_so(size):
    with pytest.raises((SpecError, Refusal)):
        read_tflite(MODEL[:size], "cut.tflite")


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_generated_or_refused_and_never_crashes(data, tmp_path_factory):
    damaged = bytearray(MODEL)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(8, len(MODEL) - 1))] = data.draw(st.integers(0, 255))
    try:
        made = generate(read_tflite(bytes(damaged)), tmp_path_factory.mktemp("damaged"), core="m4f")
    except (SpecError, Refusal):
        return
    assert made.sources


def test_what_is_no_tflite_file_is_named(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0 not a model at all")
    with pytest.raises(SpecError, match=r"photo\.jpg: not a \.tflite file"):
        read_tflite(path)
    with pytest.raises(SpecError, match="nowhere"):
        read_tflite(tmp_path / "nowhere.tflite")


def test_a_float_network_is_refused():
    net = Networks(0)
    x = Node(net.tensor((1, 4), fb.TensorType.FLOAT32), (1, 4), 1.0, 0)
    net.graph.inputs = [x.index]
    y = Node(net.tensor((1, 4), fb.TensorType.FLOAT32), (1, 4), 1.0, 0)
    net.op(fb.BuiltinOperator.TANH, [x.index], y.index)
    with pytest.raises(Refusal, match="holds floats; only a network of int8 runs here"):
        read_tflite(net.finish(y))


@pytest.mark.parametrize("inputs", [[], [-1]])
def test_an_operator_without_an_input_is_named(inputs):
    net = Networks(0)
    net.input((1, 4))
    y = net.node((1, 4))
    net.op(fb.BuiltinOperator.QUANTIZE, inputs, y.index)
    with pytest.raises(SpecError, match="QUANTIZE has no input"):
        read_tflite(net.finish(y))


def test_numbers_without_an_axis_can_t_be_joined(tmp_path):
    net = Networks(0)
    x, y = net.input(()), net.node(())
    kind = fb.BuiltinOptions.ConcatenationOptions
    net.op(fb.BuiltinOperator.CONCATENATION, [x.index], y.index, fb.ConcatenationOptionsT(), kind)
    with pytest.raises(SpecError, match=r"CONCATENATION .* has no axis"):
        generate(read_tflite(net.finish(y)), tmp_path, core="m4f")


@pytest.mark.parametrize(
    ("operator", "message"),
    [
        ("UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_LSTM has no kernel here; unroll the recurrence"),
        ("ARG_MAX", "ARG_MAX has no kernel here"),
        ("STABLEHLO_SORT", "number 199 has no kernel here"),
    ],
)
def test_an_operator_without_a_kernel_is_named(operator, message):
    net = Networks(0)
    x = net.input((1, 4))
    y = net.node((1, 4))
    net.op(getattr(fb.BuiltinOperator, operator), [x.index], y.index)
    with pytest.raises(Refusal, match=message):
        read_tflite(net.finish(y))


def test_a_custom_operator_is_named():
    net = Networks(0)
    x, y = net.input((1, 4)), net.node((1, 4))
    net.op(fb.BuiltinOperator.CUSTOM, [x.index], y.index)
    net.model.operatorCodes[0].customCode = "Detect"
    with pytest.raises(Refusal, match="custom operator 'Detect' has no kernel here"):
        read_tflite(net.finish(y))


def test_a_tensor_larger_than_the_address_space_is_refused_before_anything_is_allocated():
    net = Networks(0)
    x = net.input((1, 100_000, 100_000, 64))
    with pytest.raises(Refusal, match="larger than the 4 GiB"):
        read_tflite(net.finish(net.unary("tanh", x)))


def test_a_shape_that_is_not_fixed_is_refused():
    net = Networks(0)
    with pytest.raises(Refusal, match=r"no fixed shape: \(1, -1\)"):
        read_tflite(net.finish(net.unary("tanh", net.input((1, -1)))))


def test_constants_of_the_wrong_size_are_an_error():
    net = Networks(0)
    x = net.conv(net.input((1, 4, 4, 2)), 3)
    net.model.buffers[1].data = net.model.buffers[1].data[:-1]
    with pytest.raises(SpecError, match="needs 54 bytes and has 53"):
        read_tflite(net.finish(x))


@pytest.mark.parametrize("scale", [0.0, -1.0, np.inf, np.nan])
def test_a_scale_that_is_no_positive_number_is_an_error(scale):
    net = Networks(0)
    x = net.input((1, 4))
    net.graph.tensors[x.index].quantization.scale = np.array([scale], np.float32)
    with pytest.raises(SpecError, match="scale of tensor 't0' is not a positive number"):
        read_tflite(net.finish(net.unary("tanh", x)))


def test_an_operand_that_nothing_has_written_is_an_error():
    net = Networks(0)
    net.input((1, 4))
    x, y = net.node((1, 4)), net.node((1, 4))
    net.op(fb.BuiltinOperator.RELU, [x.index], y.index)
    with pytest.raises(SpecError, match="RELU reads tensor 't1' before anything wrote it"):
        read_tflite(net.finish(y))


def test_control_flow_is_refused():
    net = Networks(0)
    x = net.unary("relu", net.input((1, 4)))
    net.finish(x)
    net.model.subgraphs = [net.graph, net.graph]
    builder = __import__("flatbuffers").Builder(1024)
    builder.Finish(net.model.Pack(builder), b"TFL3")
    with pytest.raises(Refusal, match="2 subgraphs; control flow"):
        read_tflite(bytes(builder.Output()))
