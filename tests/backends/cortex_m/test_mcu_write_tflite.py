"""Files are read back as what was written, are aligned, and are taken by Arm's compiler for its NPU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcu_modules import MODULES, build
from mcu_networks import Networks

from autoshrink.backends.cortex_m.boards import read_npu
from autoshrink.backends.cortex_m.convert import convert
from autoshrink.backends.cortex_m.flatbuffer import root
from autoshrink.backends.cortex_m.graph import Graph, Op, Tensor
from autoshrink.backends.cortex_m.oracle import ask
from autoshrink.backends.cortex_m.read_tflite import read_tflite
from autoshrink.backends.cortex_m.vela import compile_for_npu
from autoshrink.backends.cortex_m.write_tflite import without_int4, write_tflite
from autoshrink.core import Encoding, Hardware, Refusal, catalog_folder
from autoshrink.models.splits import Split


def graph_of(name: str, bits: int = 8) -> Graph:
    model, inputs = build(name)
    encoding = Encoding.model_validate({"scheme": "static", "weight_bits": bits})
    return convert(model, Split((inputs[:1],)), encoding, Split((inputs,))).graph


def equal(one: Graph, other: Graph) -> bool:
    def same(a: Tensor, b: Tensor) -> bool:
        data = a.data is None if b.data is None else a.data is not None and np.array_equal(a.data, b.data)
        return data and replace(a, data=None).__dict__ == replace(b, data=None).__dict__

    pairs = zip(one.tensors, other.tensors, strict=True)
    return (one.ops, one.inputs, one.outputs) == (other.ops, other.inputs, other.outputs) and all(
        same(a, b) for a, b in pairs
    )


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("name", MODULES)
def test_what_was_written_is_read(name, bits):
    graph = graph_of(name, bits)
    written = write_tflite(graph)
    read = read_tflite(written)
    assert equal(read, graph)
    assert write_tflite(read) == written


def test_a_file_of_others_comes_back_as_it_was():
    networks = Networks(5)
    x = networks.conv(networks.input((1, 9, 9, 3)), 8, (3, 3), activation="relu6")
    read = read_tflite(networks.finish(networks.conv(x, 4, (1, 1))))
    assert equal(read_tflite(write_tflite(read)), read)


def test_constants_are_aligned():
    content = write_tflite(graph_of("residual"))
    constants = [buffer.data(0) for buffer in root(content, "test").tables(4)]
    places = [content.index(data) for data in constants if len(data) > 64]
    assert len(places) >= 4
    assert not any(place % 16 for place in places)


@given(st.lists(st.integers(-8, 7), min_size=1, max_size=33))
@settings(max_examples=30, deadline=None)
def test_nibbles_are_packed_low_first(values):
    data = np.array(values, np.int8)
    tensors = (
        Tensor("x", (1, len(data)), "int8", (1.0,), (0,)),
        Tensor("w", data.shape, "int4", (1.0,), (0,), data=data),
    )
    content = write_tflite(
        Graph((*tensors, replace(tensors[0], name="y")), (Op("ADD", (0, 1), (2,), {"activation": "none"}),), (0,), (2,))
    )
    packed = root(content, "test").tables(4)[1].data(0)
    assert len(packed) == (len(data) + 1) // 2
    assert packed[0] & 15 == int(data[0]) & 15
    assert np.array_equal(read_tflite(content).tensors[1].data, data)


def test_four_bits_in_bytes_answer_the_same():
    graph = graph_of("one_dimension", 4)
    wide = without_int4(graph)
    assert not any(tensor.dtype == "int4" for tensor in wide.tensors)
    examples = (
        np.random.default_rng(0).integers(-128, 128, (8, *graph.tensors[graph.inputs[0]].shape[1:])).astype(np.int8)
    )
    answers = [ask(write_tflite(each), [examples]).integers for each in (graph, wide)]
    assert np.array_equal(*answers)
    assert len(write_tflite(graph)) < len(write_tflite(wide))


def test_an_unknown_operator_is_refused():
    x = Tensor("x", (1, 4), "int8", (1.0,), (0,))
    with pytest.raises(Refusal, match="FLOOR_MOD can't be written"):
        write_tflite(Graph((x, replace(x, name="y")), (Op("FLOOR_MOD", (0,), (1,)),), (0,), (1,)))


@pytest.mark.parametrize("name", ["ds_cnn", "residual", "squeeze_excite", "dense"])
def test_vela_takes_the_file(name, tmp_path):
    npu = read_npu(Hardware.read(catalog_folder("targets") / "ethos-u55-128.yaml"))
    (tmp_path / "model.tflite").write_bytes(write_tflite(graph_of(name)))
    assert compile_for_npu(tmp_path / "model.tflite", npu, tmp_path).cycles > 0


def test_vela_takes_four_bits_in_bytes(tmp_path):
    npu = read_npu(Hardware.read(catalog_folder("targets") / "ethos-u55-128.yaml"))
    sizes = []
    for bits in (8, 4):
        (tmp_path / "model.tflite").write_bytes(write_tflite(without_int4(graph_of("residual", bits))))
        sizes.append(compile_for_npu(tmp_path / "model.tflite", npu, tmp_path).flash_bytes)
    assert sizes[1] < sizes[0]


def test_the_identifier_and_the_version():
    content = write_tflite(graph_of("gates"))
    assert content[4:8] == b"TFL3"
    assert root(content, "test").integer(0, "I") == 3
