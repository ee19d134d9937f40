"""What of TensorRT needs no GPU: the graphs that it gets, the checks of them, and what it says where it is missing."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from nets import make
from onnx import TensorProto, numpy_helper

from autoshrink.backends.registry import backend
from autoshrink.backends.tensorrt.engine import count_layers
from autoshrink.backends.tensorrt.network import Settings, check_network, prepare
from autoshrink.core import BackendUnavailable, Encoding, Hardware, Refusal, SpecError
from autoshrink.models.onnx.export import export_float
from autoshrink.models.onnx.static import encode_static
from autoshrink.models.splits import forward

STATIC = Encoding(scheme="static", weight_bits=8)
EIGHT_BITS = {"int8": (TensorProto.INT8, 30), "float8": (TensorProto.FLOAT8E4M3FN, 18)}


def gpu(**options: Any) -> Hardware:
    return Hardware(name="card", kind="gpu", backend="tensorrt", options=options)


@pytest.mark.parametrize("net", ["residual", "mobile", "text", "two_inputs"])
@pytest.mark.parametrize("eight_bits", EIGHT_BITS)
def test_static_8_bits_are_symmetric_with_float_biases_and_near_the_model(net: str, eight_bits: Any) -> None:
    dtype, least = EIGHT_BITS[eight_bits]
    model, examples = make(net)
    prepared = prepare(model, examples.rows(slice(0, 1)), STATIC, examples, Settings(eight_bits=eight_bits))
    proto = onnx.load_model_from_string(prepared.content)
    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    pairs = [node for node in proto.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    zeros = [constants[node.input[2]] for node in pairs if len(node.input) > 2]
    assert sum(prepared.quantized.values()) >= 3
    assert {zero.data_type for zero in zeros} == {dtype}
    assert not any(np.asarray(numpy_helper.to_array(zero), np.float32).any() for zero in zeros)
    assert not any(tensor.data_type == TensorProto.INT32 for tensor in constants.values())  # biases

    options = onnxruntime.SessionOptions()
    # As the graph is written: ONNX Runtime itself would fuse float8 to operators that it has for integers only.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(prepared.content, options, providers=["CPUExecutionProvider"])
    (given,) = session.run(None, dict(zip(prepared.names, examples.arrays(), strict=True)))
    with torch.no_grad():
        wanted = forward(model, examples).numpy()
    assert 10 * np.log10((wanted**2).sum() / ((given - wanted) ** 2).sum()) >= least


def test_16_bits_are_in_the_graph_with_inputs_and_outputs_in_32() -> None:
    model, examples = make("residual")
    prepared = prepare(model, examples.rows(slice(0, 1)), Encoding(weight_bits=16), examples, Settings())
    proto = onnx.load_model_from_string(prepared.content)
    large = [tensor for tensor in proto.graph.initializer if np.prod(tensor.dims) > 64]
    assert {tensor.data_type for tensor in large} == {TensorProto.FLOAT16}
    ports = [*proto.graph.input, *proto.graph.output]
    assert {port.type.tensor_type.elem_type for port in ports} == {TensorProto.FLOAT}


def test_a_graph_with_zero_points_is_refused() -> None:
    model, examples = make("two_inputs")
    graph = export_float(model, examples.rows(slice(0, 1)), examples).model
    check_network(graph)
    encode_static(graph, True, {}, lambda names: dict.fromkeys(names, (-1.0, 3.0)))
    with pytest.raises(Refusal, match="symmetric 8 bits only, and QuantizeLinear has a zero point"):
        check_network(graph)


def test_an_operator_of_another_runtime_is_refused() -> None:
    value = ir.Value(name="x", shape=ir.Shape([1, 4]), type=ir.TensorType(ir.DataType.FLOAT))
    node = ir.node("FusedConv", [value], domain="com.microsoft")
    graph = ir.Graph([value], node.outputs, nodes=[node], opset_imports={"": 21, "com.microsoft": 1})
    with pytest.raises(Refusal, match=r"TensorRT has no operator com\.microsoft\.FusedConv"):
        check_network(ir.Model(graph, ir_version=10))


def test_a_profile_says_how_to_build() -> None:
    assert Settings.of(gpu()) == Settings("tensorrt", "int8", 3, 1 << 30, ("TF32",))
    small = Hardware.model_validate({**gpu(effort=5).model_dump(exclude_unset=True), "limits": {"memory": "1 GB"}})
    assert Settings.of(small) == Settings(effort=5, workspace=250_000_000)


def test_layers_with_weights_are_counted_by_what_they_compute_in() -> None:
    # As TensorRT's documentation prints what its inspector says.
    layers = [
        {"Name": "conv", "LayerType": "CaskConvolution", "Weights": {"Type": "Int8", "Count": 432}},
        {"Name": "head", "LayerType": "CaskGemmConvolution", "Weights": {"Type": "Half", "Count": 160}},
        {"Name": "cast", "LayerType": "Reformat"},
        "only its name",
    ]
    assert count_layers({"Layers": layers}) == {"integers": 1, "half": 1}


@pytest.mark.parametrize("product", ["tensorrt", "tensorrt_rtx"])
def test_where_it_is_missing_it_says_how_to_install_it(product: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BackendUnavailable, match=rf"card needs {product.replace('_', '-')}-cu13.*\[{product}\]"):
        backend("tensorrt").require(gpu(product=product))


def test_another_machine_s_gpu_and_unknown_values_are_errors() -> None:
    with pytest.raises(BackendUnavailable, match=r"built on the GPU that runs it, and not for ssh://board"):
        backend("tensorrt").require(gpu().model_copy(update={"device": "ssh://board"}))
    with pytest.raises(SpecError, match=r"options\.eight_bits.*must be one of int8, float8, not 'fp8'"):
        backend("tensorrt").require(gpu(eight_bits="fp8"))
