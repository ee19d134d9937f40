from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from autoshrink.backends.registry import backend
from autoshrink.core import Encoding, Hardware, Refusal
from autoshrink.core.encoding import Calibration
from autoshrink.models.onnx.calibrate import calibrate
from autoshrink.models.onnx.export import export_float
from autoshrink.models.onnx.integers import quantize_blocks, quantize_weight
from autoshrink.models.onnx.static import affine
from autoshrink.models.splits import Split
from autoshrink.models.workload import Workload

CPU = Hardware(name="cpu", kind="cpu", backend="onnxruntime")


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
def test_outliers_are_kept_or_clipped(method: Calibration) -> None:
    data = torch.randn(600, 1000, generator=torch.Generator().manual_seed(0))
    data[::300, 0] = 60.0
    examples = Split((data,))
    graph = export_float(nn.Identity(), examples.rows(slice(0, 1)), examples).model
    low, high = calibrate(graph, examples, ("input",), ["input"], method)["input"]
    # The evenly spaced examples that are used hold one outlier at least: the first.
    assert -6 < low < -3
    assert high == 60 if method == "minmax" else 3 < high < 6


def test_every_value_alike_is_a_range_of_its_own() -> None:
    examples = Split((torch.full((8, 4), 0.5),))
    graph = export_float(nn.Identity(), examples.rows(slice(0, 1)), examples).model
    methods: tuple[Calibration, ...] = ("minmax", "percentile", "entropy")
    for method in methods:
        assert calibrate(graph, examples, ("input",), ["input"], method) == {"input": (0.5, 0.5)}


def test_a_large_calibration_split_takes_bounded_memory_and_time() -> None:
    # 20 000 examples whose activations would take 2.6 GB.
    examples = Split((torch.rand(20_000, 1, 16, 16),))
    model = nn.Sequential(nn.Conv2d(1, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 1)).eval()
    graph = export_float(model, examples.rows(slice(0, 1)), examples).model
    names = [str(node.outputs[0].name) for node in graph.graph]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    calibrate(graph, examples, ("input",), names, "entropy")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150_000  # KiB


def test_an_activation_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    examples = Split((torch.full((4, 8), torch.inf),))
    with pytest.raises(Refusal, match="an activation is infinite or NaN"):
        backend("onnxruntime").export(
            nn.Linear(8, 8).eval(),
            examples.rows(slice(0, 1)),
            Encoding(scheme="static", weight_bits=8),
            examples,
            tmp_path,
            CPU,
        )


@pytest.mark.parametrize("span", [(0.0, 1.0), (-1.0, 3.0), (0.5, 2.0), (-2.0, -0.5), (0.0, 0.0), (-1e-7, 1e-9)])
def test_zero_is_exact_in_every_range(span: tuple[float, float]) -> None:
    scale, zero = affine(span)
    assert scale > 0
    assert 0 <= zero <= 255
    low, high = (float(scale) * (level - float(zero)) for level in (0, 255))
    assert low <= min(span[0], 0) + float(scale)
    assert high >= max(span[1], 0) - float(scale)


def test_weights_on_their_grid_stay_as_they_are() -> None:
    weight = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)
    for axis in (0, 1, None):
        integers, scale = quantize_weight(weight, axis)
        shaped = scale if axis is None else np.expand_dims(scale, 1 - axis)
        again, _ = quantize_weight((integers * shaped).astype(np.float32), axis)
        np.testing.assert_array_equal(integers, again)
        assert np.abs(integers).max() == 127
    zeros, scale = quantize_weight(np.zeros((3, 4), np.float32), 0)
    assert not zeros.any()
    assert (scale > 0).all()


def test_blocks_are_clipped_where_that_lowers_the_error() -> None:
    blocks = np.random.default_rng(0).normal(size=(64, 32)).astype(np.float32)
    integers, scales = quantize_blocks(blocks, 4)
    assert scales.dtype == np.float16
    assert np.abs(integers).max() <= 7
    plain = np.abs(blocks).max(1, keepdims=True) / 7
    unclipped = np.square(np.rint(blocks / plain) * plain - blocks).sum()
    assert np.square(integers * scales.astype(np.float32) - blocks).sum() < 0.95 * unclipped


def test_learned_ranges_replace_calibration(digits: Workload, tmp_path: Path) -> None:
    ranges = {"body.0": (0.0, 2.0), "body.3": (0.0, 7.0), "head": (-1.0, 3.0), "not.called": (0.0, 1.0)}
    artifact = backend("onnxruntime").export(
        digits.model,
        digits.example,
        Encoding(scheme="static", weight_bits=8, ranges=ranges),
        digits.calibration,
        tmp_path,
        CPU,
    )
    assert artifact.notes["learned_ranges"] == 3
    graph = onnx.load(tmp_path / "model.onnx").graph
    constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    scales = [float(constants[node.input[1]]) for node in graph.node if node.op_type == "QuantizeLinear"]
    for low, high in list(ranges.values())[:3]:
        assert any(scale == pytest.approx((high - low) / 255) for scale in scales)


def test_a_channel_of_zeros_with_a_bias_keeps_its_bias(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)).eval()
    model[0].weight.data[1] = 0
    model[0].bias.data[1] = 5.0
    examples = Split((torch.rand(16, 1, 8, 8),))
    for granularity in ("per_channel", "per_tensor"):
        backend("onnxruntime").export(
            model,
            examples.rows(slice(0, 1)),
            Encoding.model_validate({"scheme": "static", "weight_bits": 8, "granularity": granularity}),
            examples,
            tmp_path,
            CPU,
        )
        session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
        given = session.run(None, {session.get_inputs()[0].name: examples.arrays()[0]})[0]
        with torch.no_grad():
            wanted = model(*examples.inputs).numpy()
        assert np.abs(given - wanted).max() < 0.05 * np.abs(wanted).max()
