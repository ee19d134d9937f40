"""The oracle runs whole splits, grows its arena, and survives what ends an interpreter."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from mcu_modules import build
from mcu_networks import Networks, fb

from autoshrink.backends.cortex_m import oracle
from autoshrink.backends.cortex_m.convert import convert
from autoshrink.backends.cortex_m.graph import Graph, Op, Tensor
from autoshrink.backends.cortex_m.oracle import ask, dequantize, quantize
from autoshrink.backends.cortex_m.write_tflite import write_tflite
from autoshrink.core import BackendUnavailable, DeviceError, Encoding, Refusal, SpecError
from autoshrink.models.splits import Split

INT8 = Encoding(scheme="static", weight_bits=8)


def relu(shape, scale=0.5, zero_point=3) -> bytes:
    x = Tensor("x", shape, "int8", (scale,), (zero_point,))
    return write_tflite(Graph((x, replace(x, name="y")), (Op("RELU", (0,), (1,)),), (0,), (1,)))


def test_floats_are_quantized_and_answers_are_real_numbers():
    inputs = np.array([[-1.0, 0.24, 0.26, 70.0]], np.float32)
    answers = ask(relu((1, 4)), [inputs])
    assert answers.integers.tolist() == [[3, 3, 4, 127]]
    assert answers.outputs.tolist() == [[0.0, 0.0, 0.5, 62.0]]
    assert answers.outputs.dtype == np.float32


def test_halves_are_rounded_away_from_zero():
    tensor = Tensor("x", (1, 6), "int8", (1.0,), (0,))
    assert quantize(np.array([[-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]]), tensor).tolist() == [[-3, -2, -1, 1, 2, 3]]
    assert dequantize(np.array([[4]], np.int8), replace(tensor, scales=(0.25,), zero_points=(-4,))).tolist() == [[2.0]]


def test_int8_inputs_are_taken_as_they_are():
    assert ask(relu((1, 3)), [np.array([[-100, 3, 90]], np.int8)]).integers.tolist() == [[3, 3, 90]]


def test_every_example_is_answered_in_order():
    model, inputs = build("gates")
    result = convert(model, Split((inputs[:1],)), INT8, Split((inputs,)))
    content = write_tflite(result.graph)
    array = result.inputs[0].to_file(inputs.numpy())
    whole = ask(content, [array])
    alone = ask(content, [array[40:41]])
    assert whole.outputs.shape == (64, 3)
    assert np.array_equal(whole.integers[40], alone.integers[0])


def test_the_arena_grows_to_what_is_needed():
    assert ask(relu((1, 8)), [np.zeros((1, 8), np.int8)]).arena == 1 << 16
    large = ask(relu((1, 512, 512, 4)), [np.zeros((1, 512, 512, 4), np.int8)])
    assert large.arena > 1 << 20


def test_an_operator_that_the_interpreter_does_not_have():
    networks = Networks(1)
    x = networks.input((1, 4))
    y = networks.node(x.shape)
    networks.op(fb.BuiltinOperator.RELU, [x.index], y.index)
    content = networks.finish(y)
    # RELU (19) becomes LSH_PROJECTION (15) in both fields of the operator's code.
    model = fb.ModelT.InitFromObj(fb.Model.GetRootAsModel(content, 0))
    model.operatorCodes[0].builtinCode = model.operatorCodes[0].deprecatedBuiltinCode = 15
    with pytest.raises(Refusal, match="number 15 has no kernel"):
        ask(_packed(model), [np.zeros((1, 4), np.int8)])


def test_the_interpreters_own_words_are_shown():
    x = Tensor("x", (1, 4), "int8", (0.1,), (0,))
    weight = Tensor("w", (4, 4), "int4", (0.1, 0.2, 0.1, 0.1), (0,) * 4, 0, np.ones((4, 4), np.int8))
    op = Op("FULLY_CONNECTED", (0, 1, -1), (2,), {"activation": "none", "format": 0})
    graph = Graph((x, weight, replace(x, name="y")), (op,), (0,), (2,))
    with pytest.raises(Refusal, match=r"can't run the \.tflite file: .*fully_connected.*was not true"):
        ask(write_tflite(graph), [np.zeros((1, 4), np.int8)])


@pytest.mark.parametrize("code", ["import os; os.abort()", "import time; time.sleep(60)"])
def test_a_process_that_dies_or_hangs_is_a_device_error(tmp_path, monkeypatch, code):
    worker = tmp_path / "worker.py"
    worker.write_text(code)
    monkeypatch.setattr(oracle, "_WORKER", worker)
    with pytest.raises(DeviceError, match=r"died of signal 6|did not end within 2 s"):
        ask(relu((1, 4)), [np.zeros((1, 4), np.int8)], timeout=2)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ([np.zeros((2, 5), np.float32)], r"'x' has the shape \(1, 4\), and examples have \(5,\)"),
        ([np.zeros((2, 4), np.float32)] * 2, "has 1 inputs, and 2 are given"),
    ],
)
def test_inputs_that_do_not_fit(arrays, message):
    with pytest.raises(Refusal, match=message):
        ask(relu((1, 4)), arrays)


def test_a_file_for_several_examples_is_refused():
    with pytest.raises(Refusal, match="must take one example"):
        ask(relu((2, 4)), [np.zeros((2, 4), np.int8)])


def test_a_damaged_file_is_the_users_error():
    with pytest.raises(SpecError, match="cut off or damaged"):
        ask(relu((1, 4))[:200], [np.zeros((1, 4), np.int8)])


def test_without_tflite_micro_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tflite_micro", None)
    with pytest.raises(BackendUnavailable, match=r"pip install 'autoshrink\[mcu\]'"):
        ask(b"", [])


def _packed(model) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(256)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
