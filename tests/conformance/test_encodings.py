"""Every encoding on every kind of net: it keeps the outputs and makes the file smaller, or refuses and says why."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
import pytest
import torch
from nets import NETS, make
from torch import nn

from autoshrink.backends.registry import backend
from autoshrink.core import Artifact, Encoding, Hardware, Refusal
from autoshrink.core.hardware import Bits, Scheme
from autoshrink.models.splits import Split, forward
from autoshrink.techniques._torch.norms import fold

CPU = Hardware(name="cpu", kind="cpu", backend="onnxruntime")


# The least signal-to-noise ratio in dB, and the most of the float file's size.
ENCODINGS: dict[str, tuple[Encoding, float, float]] = {
    "float32": (Encoding(), 90, 1),
    "float16": (Encoding(weight_bits=16), 55, 0.75),
    "static": (Encoding(scheme="static", weight_bits=8), 25, 0.75),
    "static_per_tensor": (Encoding(scheme="static", weight_bits=8, granularity="per_tensor"), 20, 0.75),
    "static_percentile": (Encoding(scheme="static", weight_bits=8, calibration="percentile"), 20, 0.75),
    "static_entropy": (Encoding(scheme="static", weight_bits=8, calibration="entropy"), 15, 0.75),
    "dynamic": (Encoding(scheme="dynamic", weight_bits=8), 25, 0.75),
    "int8": (Encoding(scheme="weight_only", weight_bits=8), 30, 0.75),
    "int8_per_tensor": (Encoding(scheme="weight_only", weight_bits=8, granularity="per_tensor"), 25, 0.75),
    "int4": (Encoding(scheme="weight_only", weight_bits=4), 14, 0.6),
    "int4_blocks_of_16": (Encoding(scheme="weight_only", weight_bits=4, block_size=16), 15, 0.65),
}
REFUSALS = {
    ("upsampling", "dynamic"): "dynamic int8 finds no fully connected layer and no LSTM",
}


class Net(NamedTuple):
    """A net with its data and its outputs in torch."""

    name: str
    model: nn.Module
    examples: Split
    outputs: np.ndarray
    float_size: int = 0


@pytest.fixture(scope="module", params=NETS)
def net(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Net:
    model, examples = make(request.param)
    with torch.no_grad():
        net = Net(request.param, model, examples, forward(model, examples).numpy())
    return net._replace(float_size=export(net, Encoding(), tmp_path_factory.mktemp("net") / "float")[0].size)


def export(net: Net, encoding: Encoding, folder: Path) -> tuple[Artifact, Path]:
    folder.mkdir()
    example = net.examples.rows(slice(0, 1))
    artifact = backend("onnxruntime").export(net.model, example, encoding, net.examples, folder, CPU)
    assert artifact.files == ("model.onnx",)
    assert artifact.size == (folder / "model.onnx").stat().st_size
    return artifact, folder / "model.onnx"


def run(path: Path, examples: Split) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_inputs()]
    given: np.ndarray = session.run(None, dict(zip(names, examples.arrays(), strict=True)))[0]
    return given


@pytest.mark.parametrize("name", ENCODINGS)
def test_an_encoding_keeps_the_outputs_or_refuses(net: Net, name: str, tmp_path: Path) -> None:
    encoding, least, share = ENCODINGS[name]
    before = {key: value.clone() for key, value in net.model.state_dict().items()}
    if (net.name, name) in REFUSALS:
        with pytest.raises(Refusal, match=REFUSALS[net.name, name]):
            export(net, encoding, tmp_path / "refused")
        return
    artifact, path = export(net, encoding, tmp_path / "one")

    given = run(path, net.examples)
    assert given.shape == net.outputs.shape
    assert given.dtype == np.float32
    noise = float(((given - net.outputs) ** 2).sum())
    assert 10 * np.log10(float((net.outputs**2).sum()) / max(noise, 1e-30)) >= least
    # The batch is free. Dynamic ranges are those of the whole batch, so that examples depend on each other.
    tolerance = np.abs(net.outputs).max() * (0.2 if name == "dynamic" else 0.02)
    for size in (1, 5):
        part = run(path, net.examples.rows(slice(0, size)))
        assert np.abs(part - given[:size]).max() <= tolerance

    assert export(net, encoding, tmp_path / "again")[0].key == artifact.key
    assert artifact.size <= share * net.float_size
    if encoding.scheme in ("static", "dynamic"):
        assert artifact.notes["in_float"] == 0
        assert sum(artifact.notes["quantized"].values()) >= 1
    after = net.model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


KEPT = {"residual": "one.0", "mobile": "gate.1", "signal": "body.4", "text": "body.layers.0.linear1"}


@pytest.mark.parametrize(
    ("bits", "scheme", "higher"),
    [(4, "weight_only", "int8"), (8, "weight_only", "float16"), (8, "static", "float16"), (8, "dynamic", "float16")],
)
def test_a_kept_layer_is_stored_one_step_higher_and_nearer(
    net: Net, bits: Bits, scheme: Scheme, higher: str, tmp_path: Path
) -> None:
    name = KEPT.get(net.name, "head")
    only_one = net.name in ("gru", "lstm") and scheme in ("static", "dynamic")
    if only_one or name not in dict(net.model.named_modules()) or (net.name, scheme) in REFUSALS:
        pytest.skip("refused without it too, or no other plain layer")
    plain = Encoding(scheme=scheme, weight_bits=bits)
    lower, lower_path = export(net, plain, tmp_path / "lower")
    kept, path = export(net, plain.model_copy(update={"kept": (name,)}), tmp_path / "kept")
    assert kept.notes["kept"] == 1
    large = net.model.get_submodule(name).get_parameter("weight").numel() >= 100
    assert kept.notes["stored"].get(higher, 0) == large
    assert kept.size > lower.size - 200  # a stored weight has headers of its own
    quantized = [sum(found.notes.get("quantized", {}).values()) for found in (lower, kept)]
    executed_in_integers = scheme == "static" or (
        scheme == "dynamic" and "Linear" in repr(net.model.get_submodule(name))
    )
    assert quantized[0] - quantized[1] == executed_in_integers

    def noise(file: Path) -> float:
        return float(((run(file, net.examples) - net.outputs) ** 2).sum())

    assert noise(path) <= 1.3 * noise(lower_path)  # errors that cancelled by chance don't any more


def test_a_layer_that_is_not_there_can_not_be_kept(net: Net, tmp_path: Path) -> None:
    encoding = Encoding(scheme="weight_only", weight_bits=8, kept=("nowhere",))
    with pytest.raises(Refusal, match="no layer of its own for nowhere"):
        export(net, encoding, tmp_path / "refused")


@pytest.mark.parametrize(("bits", "scheme"), [(32, "float"), (8, "static"), (8, "dynamic"), (8, "weight_only")])
def test_a_codebook_is_lossless_and_smaller(net: Net, bits: Bits, scheme: Scheme, tmp_path: Path) -> None:
    if net.name in ("gru", "lstm") or (net.name, scheme) in REFUSALS:
        pytest.skip("refused without a codebook too, or no technique shares its weights")
    model = fold(copy.deepcopy(net.model), net.examples.rows(slice(0, 1)))
    for parameter in model.parameters():
        if parameter.numel() >= 512:
            values = parameter.detach()
            grid = torch.linspace(float(values.min()), float(values.max()), 16)
            parameter.data = grid[(values[..., None] - grid).abs().argmin(-1)]
    net = net._replace(model=model)
    # The granularity that weight sharing needs, for both.
    plain = Encoding(scheme=scheme, weight_bits=bits, granularity="per_tensor")
    dense, dense_path = export(net, plain, tmp_path / "dense")
    small, path = export(net, plain.model_copy(update={"codebook": 16}), tmp_path / "small")
    assert small.notes["codebooks"] >= 1
    assert small.size < dense.size
    assert small.notes["executed"] == dense.notes["executed"]  # looked up when the file is loaded
    np.testing.assert_array_equal(run(path, net.examples), run(dense_path, net.examples))
