"""The backend as a whole: a torch model in, a file with figures and answers out."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from mcu_modules import build
from torch import nn

from autoshrink.backends.cortex_m import CortexM
from autoshrink.backends.cortex_m.graph import Graph, Op, Tensor
from autoshrink.backends.cortex_m.read_tflite import read_tflite
from autoshrink.backends.cortex_m.write_tflite import write_tflite
from autoshrink.core import Artifact, BackendUnavailable, Encoding, Hardware, Refusal, SpecError, catalog_folder
from autoshrink.models.splits import Split

INT8 = Encoding(scheme="static", weight_bits=8)
INT4 = Encoding(scheme="static", weight_bits=4)


def profile(name: str, **changes) -> Hardware:
    return Hardware.read(catalog_folder("targets") / f"{name}.yaml").model_copy(update=changes)


def export(name, folder, encoding=INT8, hardware=None) -> tuple[Artifact, torch.Tensor, nn.Module]:
    model, inputs = build(name)
    split = Split((inputs,))
    found = CortexM().export(model, split.rows(slice(0, 1)), encoding, split, folder, hardware or profile("nrf52840"))
    return found, inputs, model


def npz(folder, *tensors):
    path = folder / "validation.npz"
    np.savez(path, **{str(index): tensor.numpy() for index, tensor in enumerate(tensors)})
    return path


@pytest.mark.parametrize("board", ["nrf52840", "rp2040"])
def test_a_model_is_exported_and_measured(tmp_path, board):
    hardware = profile(board)
    artifact, inputs, model = export("ds_cnn", tmp_path, hardware=hardware)
    assert artifact.files == ("model.tflite",)
    assert artifact.size == (tmp_path / "model.tflite").stat().st_size
    assert artifact.notes["quantized"] == 6
    assert artifact.notes["weights"] == {"int8": 6}
    again = Artifact.model_validate_json(artifact.model_dump_json())
    found, outputs = CortexM().measure(tmp_path, again, hardware, {"validation": npz(tmp_path, inputs)})
    origins = {name: metric.origin for name, metric in found.metrics.items()}
    assert origins["size"] == origins["memory"] == origins["instructions"] == "emulated"
    assert origins["latency"] == "modelled"
    assert ("energy" in origins) == (board == "nrf52840")
    assert found.conditions["macs"] == artifact.notes["macs"]
    with torch.no_grad():
        wanted = model(inputs).numpy()
    assert outputs["validation"].shape == wanted.shape
    assert np.abs(outputs["validation"] - wanted).max() < 0.05 * np.abs(wanted).max()


def test_images_are_laid_out_as_the_file_wants_them(tmp_path):
    artifact, inputs, model = export("segmentation", tmp_path)
    _, outputs = CortexM().measure(tmp_path, artifact, profile("nrf52840"), {"test": npz(tmp_path, inputs)})
    with torch.no_grad():
        wanted = model(inputs).numpy()
    assert np.abs(outputs["test"] - wanted).max() < 0.05 * np.abs(wanted).max()


def test_a_file_of_others_with_floats_at_its_edges_is_measured(tmp_path):
    own, inputs, _ = export("ds_cnn", tmp_path)
    graph = read_tflite(tmp_path / "model.tflite")
    edges = [graph.inputs[0], graph.outputs[0]]
    floats = [Tensor(f"float {i}", graph.tensors[i].shape, "float32") for i in edges]
    count = len(graph.tensors)
    ops = (Op("QUANTIZE", (count,), (edges[0],)), *graph.ops, Op("DEQUANTIZE", (edges[1],), (count + 1,)))
    content = write_tflite(Graph((*graph.tensors, *floats), ops, (count,), (count + 1,)))
    (tmp_path / "theirs.tflite").write_bytes(content)
    theirs = Artifact(key="k", backend="cortex_m", files=("theirs.tflite",), size=len(content))
    path = npz(tmp_path, inputs)
    figures, outputs = CortexM().measure(tmp_path, theirs, profile("nrf52840"), {"test": path})
    wanted, answers = CortexM().measure(tmp_path, own, profile("nrf52840"), {"test": path})
    assert np.array_equal(outputs["test"], answers["test"])
    assert figures.metrics["instructions"] == wanted.metrics["instructions"]
    assert CortexM().measure(tmp_path, theirs, profile("nrf52840"), {})[0].metrics["size"] == wanted.metrics["size"]


def test_fewer_bits_take_less_flash(tmp_path):
    figures = []
    for encoding in (INT8, INT4):
        artifact, _, _ = export("residual", tmp_path, encoding)
        figures.append(CortexM().measure(tmp_path, artifact, profile("nrf52840"), {})[0].metrics["size"].value)
    assert figures[1] < figures[0]


def test_an_npu_is_modelled_by_vela(tmp_path):
    hardware = profile("ethos-u55-128")
    artifact, inputs, _ = export("residual", tmp_path, hardware=hardware)
    found, outputs = CortexM().measure(tmp_path, artifact, hardware, {"test": npz(tmp_path, inputs[:3])})
    assert {metric.origin for metric in found.metrics.values()} == {"modelled"}
    assert "Vela" in found.conditions["model"]
    assert outputs["test"].shape == (3, 10)


def test_a_model_larger_than_the_board_says_by_how_much(tmp_path):
    board = profile("nrf52840")
    small = board.model_copy(update={"limits": board.limits.model_copy(update={"size": 8192})})
    artifact, _, _ = export("ds_cnn", tmp_path, hardware=small)
    found, _ = CortexM().measure(tmp_path, artifact, small, {})
    assert found.metrics["size"].value > 8192
    assert found.conditions["overflow"]["flash"].endswith("bytes too many")


def test_what_is_encoded_in_no_way_is_executed_in_int8(tmp_path):
    artifact, _, _ = export("gates", tmp_path, Encoding())
    assert artifact.notes["weights"] == {"int8": 3}


def test_what_no_kernel_computes_is_refused_when_it_is_exported(tmp_path):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(4, 3)

        def forward(self, x, y):
            return self.first(x) + y

    split = Split((torch.randn(8, 4), torch.randn(8, 3)))
    with pytest.raises(Refusal, match="2 inputs"):
        CortexM().export(Two().eval(), split.rows(slice(0, 1)), INT8, split, tmp_path, profile("nrf52840"))
    split = Split((torch.randn(8, 4),))
    with pytest.raises(Refusal, match="no weights"):
        CortexM().export(nn.ReLU(), split.rows(slice(0, 1)), INT8, split, tmp_path, profile("nrf52840"))


def test_a_codebook_that_is_gone_is_refused(tmp_path):
    with pytest.raises(Refusal, match="no layer kept to 16 different weights"):
        export("residual", tmp_path, INT8.model_copy(update={"codebook": 16}))


def test_encodings_are_accepted_as_profile_and_kernels_allow():
    backend, board = CortexM(), profile("nrf52840")
    assert not backend.accepts(INT8, board)
    assert not backend.accepts(INT4, board)
    assert not backend.accepts(Encoding(codebook=16), board)
    assert "at most 16 entries" in backend.accepts(Encoding(codebook=64), board)
    assert "has the schemes static, not dynamic" in backend.accepts(Encoding(scheme="dynamic", weight_bits=8), board)
    assert "weights of 8, 4 bits, not of 32" in backend.accepts(Encoding(), board)
    assert "weights of 8 bits, not of 4" in backend.accepts(INT4, profile("ethos-u55-128"))


def test_profiles_are_checked(monkeypatch):
    CortexM().require(profile("nrf52840"))
    CortexM().require(profile("ethos-u55-128"))
    with pytest.raises(SpecError, match="a microcontroller is emulated: write 'emulated', not 'local'"):
        CortexM().require(profile("nrf52840", device="local"))
    monkeypatch.setitem(sys.modules, "tflite_micro", None)
    with pytest.raises(BackendUnavailable, match=r"pip install 'autoshrink\[mcu\]'"):
        CortexM().require(profile("nrf52840"))


def test_versions_name_every_tool():
    found = CortexM().versions()
    assert {"torch", "tflite-micro", "ethos-u-vela", "arm-none-eabi-gcc", "qemu-system-arm"} <= set(found)
