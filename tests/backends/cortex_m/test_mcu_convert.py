"""Torch networks become int8 files that answer nearly as torch does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mcu_modules import MODULES, build
from torch import nn

from autoshrink.backends.cortex_m.convert import convert
from autoshrink.backends.cortex_m.oracle import ask
from autoshrink.backends.cortex_m.write_tflite import write_tflite
from autoshrink.core import Encoding
from autoshrink.models.splits import Split

INT8 = Encoding(scheme="static", weight_bits=8)
INT4 = Encoding(scheme="static", weight_bits=4)
_FEW = 24


def converted(model, inputs, encoding=INT8):
    return convert(model, Split((inputs[:1],)), encoding, Split((inputs,)))


def answers(result, *inputs):
    """What the file gives, in torch's order."""
    arrays = [port.to_file(tensor.numpy()) for port, tensor in zip(result.inputs, inputs, strict=True)]
    return result.output.to_torch(ask(write_tflite(result.graph), arrays).outputs)


def sqnr(wanted, given):
    """Signal to quantization noise ratio in dB."""
    return 10 * np.log10((wanted**2).mean() / ((wanted - given) ** 2).mean())


def kinds(result):
    return [op.kind for op in result.graph.ops]


@pytest.mark.parametrize("name", MODULES)
def test_int8_answers_as_torch_does(name):
    model, inputs = build(name)
    with torch.no_grad():
        wanted = model(inputs).numpy()
    result = converted(model, inputs)
    assert result.difference < 1e-5
    assert sqnr(wanted[:_FEW], answers(result, inputs[:_FEW])) > 31
    assert "TRANSPOSE" not in kinds(result)


@pytest.mark.parametrize("name", ["ds_cnn", "residual", "one_dimension", "low_rank"])
def test_four_bits_answer_roughly_as_torch_does(name):
    model, inputs = build(name)
    with torch.no_grad():
        wanted = model(inputs).numpy()
    result = converted(model, inputs, INT4)
    stored = {tensor.dtype for tensor in result.graph.tensors if tensor.name.endswith("/weight")}
    assert stored == {"int4"}
    assert sqnr(wanted[:_FEW], answers(result, inputs[:_FEW])) > 14


def test_norms_dropout_and_activations_are_gone():
    model, inputs = build("ds_cnn")
    result = converted(model, inputs)
    block = ["DEPTHWISE_CONV_2D", "CONV_2D"]
    assert kinds(result) == ["CONV_2D", *block, *block, "MEAN", "RESHAPE", "FULLY_CONNECTED"]
    convolutions = [op for op in result.graph.ops if "CONV_2D" in op.kind]
    assert {op.options["activation"] for op in convolutions} == {"relu"}
    assert convolutions[0].options["padding"] == "same"


def test_activations_move_before_a_maximum_pool():
    model, inputs = build("pool_then_relu")
    result = converted(model, inputs)
    assert kinds(result)[:4] == ["CONV_2D", "MAX_POOL_2D"] * 2
    assert "RELU" not in kinds(result)


def test_a_hard_sigmoid_costs_nothing_after_a_convolution():
    model, inputs = build("squeeze_excite")
    result = converted(model, inputs)
    gate = next(tensor for tensor in result.graph.tensors if tensor.name == "hard.4_2")
    assert (gate.zero_point, gate.scale) == (-128, float(np.float32(1 / 255)))
    assert "RELU6" not in kinds(result)
    assert kinds(result).count("MUL") == 3  # two gates and a negation


def test_a_model_with_two_named_inputs():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.image, self.extra, self.head = nn.Conv2d(2, 4, 3), nn.Linear(5, 4), nn.Linear(4, 3)

        def forward(self, extra, image):
            return self.head(torch.relu(self.image(image)).mean((2, 3)) + self.extra(extra))

    torch.manual_seed(0)
    model, image, extra = Two().eval(), torch.randn(32, 2, 6, 6), torch.randn(32, 5)
    split = Split((image, extra), None, ("image", "extra"))
    result = convert(model, split.rows(slice(0, 1)), INT8, split)
    assert [result.graph.tensors[index].name for index in result.graph.inputs] == ["image", "extra"]
    with torch.no_grad():
        wanted = model(extra, image).numpy()
    assert sqnr(wanted, answers(result, image, extra)) > 34


def test_the_same_model_gives_the_same_bytes():
    model, inputs = build("dense")
    first, second = (write_tflite(converted(model, inputs).graph) for _ in range(2))
    assert first == second


def test_learned_ranges_replace_calibration():
    model, inputs = build("residual")
    encoding = INT8.model_copy(update={"ranges": {"second": (0.0, 1.0), "stem.0": (-2.0, 2.0)}})
    result = converted(model, inputs, encoding)
    by_name = {tensor.name: tensor for tensor in result.graph.tensors}
    second = next(op for op in result.graph.ops if result.graph.tensors[op.inputs[1]].name == "norm/weight")
    assert result.graph.tensors[second.inputs[0]].scale == pytest.approx(1 / 255)
    assert by_name["input"].scale == pytest.approx(4 / 255)


def test_percentiles_cut_outliers():
    model, inputs = build("segmentation")
    inputs = torch.cat([inputs] * 8)
    inputs[0, 0, 0, 0] = 1000.0
    wide = converted(model, inputs)
    narrow = converted(model, inputs, INT8.model_copy(update={"calibration": "percentile"}))
    scales = [result.graph.tensors[result.graph.inputs[0]].scale for result in (wide, narrow)]
    assert scales[0] == pytest.approx(1000 / 255, rel=0.01)
    assert scales[1] < scales[0] / 10


def test_operators_that_keep_the_scale_do():
    for name in ("dense", "gates", "low_rank", "squeeze_excite"):
        result = converted(*build(name))
        tensors = result.graph.tensors
        for op in result.graph.ops:
            if op.kind in ("CONCATENATION", "MAX_POOL_2D", "AVERAGE_POOL_2D", "PAD", "PADV2", "RESHAPE"):
                operands = op.inputs if op.kind == "CONCATENATION" else op.inputs[:1]
                quantized = {(tensors[i].scales, tensors[i].zero_points) for i in (*operands, *op.outputs)}
                assert len(quantized) == 1, op


def test_fixed_scales_are_fixed():
    result = converted(*build("gates"))
    tensors = result.graph.tensors
    found = {op.kind: tensors[op.outputs[0]] for op in result.graph.ops}
    assert (found["LOGISTIC"].scale, found["LOGISTIC"].zero_point) == (1 / 256, -128)
    assert (found["TANH"].scale, found["TANH"].zero_point) == (1 / 128, 0)
    assert kinds(result).count("QUANTIZE") == 2
    result = converted(*build("pool_then_relu"))
    softmax = result.graph.tensors[result.graph.outputs[0]]
    assert (softmax.scale, softmax.zero_point) == (1 / 256, -128)


def test_relu6_by_itself_clips_at_six():
    class Clipped(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.head = nn.Linear(4, 4), nn.Linear(12, 3)

        def forward(self, x):
            y = 8 * self.first(x)
            return self.head(torch.cat([nn.functional.relu6(y), y, nn.functional.relu6(-y)], 1))

    torch.manual_seed(0)
    model, inputs = Clipped().eval(), 3 * torch.randn(64, 4)
    with torch.no_grad():
        wanted = model(inputs).numpy()
    result = converted(model, inputs)
    assert kinds(result).count("QUANTIZE") == 1  # the other one is fused with the negation
    assert sqnr(wanted, answers(result, inputs)) > 31
