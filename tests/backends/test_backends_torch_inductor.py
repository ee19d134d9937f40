"""PyTorch's compiler beyond the table: half floats, what is for GPUs, what it says where something is missing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from autoshrink.backends.measuring import measure, write_inputs
from autoshrink.backends.registry import backend
from autoshrink.backends.torch_inductor.formats import count_layers, quantized_for_gpu
from autoshrink.core import BackendUnavailable, Encoding, Hardware, Refusal, SpecError
from autoshrink.devices.local import Local
from autoshrink.models.exporting import quiet
from autoshrink.models.splits import Split

EXAMPLES = Split((torch.randn(16, 32, generator=torch.Generator().manual_seed(0)),))
STATIC = Encoding(scheme="static", weight_bits=8)
DYNAMIC = Encoding(scheme="dynamic", weight_bits=8)


def profile(kind: str = "cpu", **settings: Any) -> Hardware:
    return Hardware.model_validate({"name": "here", "kind": kind, "backend": "torch_inductor", **settings})


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 24)).eval()


def test_bfloat16_computes_in_bfloat16_and_is_measured_as_it_answers(tmp_path: Path) -> None:
    hardware = profile(options={"half": "bfloat16"})
    runtime, model, folder = backend("torch_inductor"), net(), tmp_path / "model"
    folder.mkdir()
    encoding = Encoding(weight_bits=16)
    artifact = runtime.export(model, EXAMPLES.rows(slice(0, 1)), encoding, EXAMPLES, folder, hardware)
    assert artifact.notes["layers"] == {"integers": 0, "float8": 0, "float": 2}
    assert artifact.notes["stored"] == 0
    assert artifact.notes["seconds"] > 0
    write_inputs(EXAMPLES, tmp_path / "all.npz")
    found = measure(
        runtime, Local(), hardware, folder, artifact, EXAMPLES.rows(slice(0, 1)),
        predict={"all": tmp_path / "all.npz"}, effort="quick",
    )  # fmt: skip
    metrics = found.measurement.metrics
    assert metrics["latency"].origin == "measured"
    assert metrics["memory"].value > 4000  # bytes of the weights
    assert metrics["size"].value == (folder / "model.pt2").stat().st_size
    assert found.measurement.conditions["adapter"]["device"] == "cpu"
    with torch.no_grad():
        wanted, rounded = model(EXAMPLES.inputs[0]), model.bfloat16()(EXAMPLES.inputs[0].bfloat16()).float()
    assert found.outputs["all"].dtype == np.float32
    noise = [float(((torch.from_numpy(found.outputs["all"]) - other) ** 2).mean()) for other in (wanted, rounded)]
    assert 1e-8 < noise[0] < 1e-3
    assert noise[1] < 1e-3


def test_8_bits_for_gpus_are_products_of_integers_in_the_program() -> None:
    one, here = EXAMPLES.rows(slice(0, 1)), torch.device("cpu")
    with torch.no_grad(), quiet():
        program = quantized_for_gpu(net(), one, "int8", torch.float32, here)
        given = program.module()(*one.inputs)
        wanted = net()(*one.inputs)
    assert count_layers(program.graph, None) == {"integers": 2, "float8": 0, "float": 0}
    assert 0 < float((given - wanted).abs().max()) < 0.05


@pytest.mark.parametrize(
    ("encoding", "hardware", "reason"),
    [
        (STATIC, profile(), ""),
        (DYNAMIC, profile("gpu"), ""),
        (STATIC, profile("gpu"), "no static int8 on GPUs"),
        (STATIC.model_copy(update={"calibration": "entropy"}), profile(), "calibrated by minmax here, not by entropy"),
        (DYNAMIC.model_copy(update={"granularity": "per_tensor"}), profile(), "a scale for each channel"),
        (Encoding(scheme="dynamic", weight_bits=4), profile(), "dynamic in 8 bits, not in 4"),
        (Encoding(codebook=16), profile(), "no codebooks"),
    ],
)
def test_it_says_which_encodings_it_executes(encoding: Encoding, hardware: Hardware, reason: str) -> None:
    found = backend("torch_inductor").accepts(encoding, hardware)
    assert reason in found
    assert bool(found) == bool(reason)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("cpu", {"half": "float8"}, r"options\.half.*must be one of float16, bfloat16, not 'float8'"),
        ("cpu", {"eight_bits": "float8"}, r"options\.eight_bits.*float8 is for profiles of kind gpu"),
        ("cpu", {"halve": "float16"}, r"options\.halve.*unknown option; did you mean 'half'"),
    ],
)
def test_a_wrong_option_is_an_error_at_its_key(kind: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        backend("torch_inductor").require(profile(kind, options=options))


def test_what_is_missing_is_named_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = backend("torch_inductor")
    with pytest.raises(BackendUnavailable, match="compiles for the machine that it runs on, and can't for ssh://board"):
        runtime.require(profile(device="ssh://board"))
    if not torch.cuda.is_available():
        with pytest.raises(BackendUnavailable, match=r"needs (torch with CUDA.*pip install torch==|an NVIDIA GPU)"):
            runtime.require(profile("gpu"))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(BackendUnavailable, match=r"needs the C\+\+ compiler g\+\+: apt-get install g\+\+"):
        runtime.require(profile(capabilities={"schemes": ["float"]}))


def test_a_weight_beyond_half_floats_is_refused(tmp_path: Path) -> None:
    model = net()
    with torch.no_grad():
        model[0].weight[0, 0] = 1e5
    with pytest.raises(Refusal, match="float16 can't hold a weight of 1e"):
        backend("torch_inductor").export(
            model, EXAMPLES.rows(slice(0, 1)), Encoding(weight_bits=16), EXAMPLES, tmp_path, profile()
        )
