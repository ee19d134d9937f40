"""One table over every runtime that is deployed: it answers as torch does, in every number format that it claims."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nets import make
from torch import nn

from autoshrink.backends.base import DeployedBackend
from autoshrink.backends.measuring import write_inputs
from autoshrink.backends.readiness import ready
from autoshrink.backends.registry import backend, kinds
from autoshrink.core import Artifact, BackendUnavailable, Encoding, Hardware, Refusal, SpecError
from autoshrink.devices.local import Local
from autoshrink.models.splits import Split, forward

RUNTIMES = [kind for kind in kinds() if isinstance(backend(kind), DeployedBackend)]
pytestmark = pytest.mark.usefixtures("environments")
NETS = ("residual", "mobile", "two_inputs", "text", "short_gru")

# The least signal-to-noise ratio in dB.
ENCODINGS: dict[str, tuple[Encoding, float]] = {
    "float32": (Encoding(), 80),
    "float16": (Encoding(weight_bits=16), 50),
    "static": (Encoding(scheme="static", weight_bits=8), 25),
    "dynamic": (Encoding(scheme="dynamic", weight_bits=8), 25),
    "dynamic_int4": (Encoding(scheme="dynamic", weight_bits=4), 12),
    "int8": (Encoding(scheme="weight_only", weight_bits=8), 30),
    "int4": (Encoding(scheme="weight_only", weight_bits=4), 12),
}
REFUSALS = {
    ("litert", "text", "static"): "an activation is infinite",  # the mask of its attention, which would be rounded too
    ("openvino", "two_inputs", "static"): "executes no layer in integers",  # it fuses small perceptrons, in float
    # NNCF stores convolutions and narrow layers in int8 where int4 was asked for.
    ("openvino", "residual", "int4"): "finds no weight",
    ("openvino", "mobile", "int4"): "finds no weight",
    ("torch_inductor", "residual", "dynamic"): "executes no layer in 8 bits",  # 16 products: a sum, in its own kernel
}
SLOW = {"torch_inductor": {"static": ("mobile", "text")}}
"""Runtimes that take 6 s to compile a file: all nets in fp32, in some formats these, in the others the text alone."""


def here(kind: str) -> Hardware:
    return Hardware(name="here", kind="cpu", backend=kind)


def accepted(kind: str) -> list[str]:
    return [name for name, (encoding, _) in ENCODINGS.items() if not backend(kind).accepts(encoding, here(kind))]


def installed(kind: str) -> None:
    if missing := ready(here(kind)):
        pytest.skip(missing)


def export(kind: str, encoding: Encoding, folder: Path, model: nn.Module, examples: Split) -> tuple[Artifact, Any]:
    installed(kind)
    folder.mkdir()
    runtime = backend(kind)
    assert isinstance(runtime, DeployedBackend)
    artifact = runtime.export(model, examples.rows(slice(0, 1)), encoding, examples, folder, here(kind))
    if runtime.environment is not None:
        return artifact, Elsewhere(runtime, folder, artifact)
    spec = importlib.util.spec_from_file_location("adapter", runtime.adapter)
    assert spec is not None
    assert spec.loader is not None
    adapter = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(adapter)
    return artifact, adapter.load(str(folder / artifact.files[0]), {"threads": 1})


class Elsewhere:
    """A session of a runtime that this process can't import: each question is a run of the harness."""

    def __init__(self, runtime: DeployedBackend, folder: Path, artifact: Artifact) -> None:
        self._runtime, self._files, self._artifact = runtime, {"artifact": folder}, artifact

    @property
    def inputs(self) -> list[dict[str, Any]]:
        return self.ask()[0]["inputs"]

    def ask(self, **files: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        assert self._runtime.environment is not None
        asked: dict[str, Any] = {"artifact": ["artifact", self._artifact.files[0]], "reference": None, "options": {}}
        asked |= {"example": None, "wants": [], "predict": list(files), "batch": 16, "threads": 1, "pin": False}
        asked["python"] = str(self._runtime.environment.python)
        back = Local().run(self._runtime.adapter, asked, {**self._files, **files}, 60)
        found = {name: np.load(back / f"{name}.npy", allow_pickle=False) for name in files}
        answer = json.loads((back / "answer.json").read_text())
        shutil.rmtree(back)
        return answer, found


def answers(session: Any, examples: Split, folder: Path) -> np.ndarray:
    if isinstance(session, Elsewhere):
        write_inputs(examples, folder / "examples.npz")
        return session.ask(examples=folder / "examples.npz")[1]["examples"]
    from autoshrink.devices.harness.arrays import predict

    names = examples.names or [port["name"] for port in session.inputs]
    return predict(session, dict(zip(names, examples.arrays(), strict=True)), 16)


def table() -> list[tuple[str, str, str]]:
    def tried(kind: str, name: str) -> tuple[str, ...]:
        return NETS if kind not in SLOW or name == "float32" else SLOW[kind].get(name, ("text",))

    rows = [(kind, name, net) for kind in RUNTIMES for name in accepted(kind) for net in NETS]
    return [row for row in rows if row[2] in tried(*row[:2]) or (row[0], row[2], row[1]) in REFUSALS]


@pytest.mark.parametrize(("kind", "name", "net"), table())
def test_it_answers_as_torch_does(kind: str, name: str, net: str, tmp_path: Path) -> None:
    encoding, least = ENCODINGS[name]
    model, examples = make(net)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        wanted = forward(model, examples).numpy()
    if (kind, net, name) in REFUSALS:
        with pytest.raises(Refusal, match=REFUSALS[kind, net, name]):
            export(kind, encoding, tmp_path / "refused", model, examples)
        return
    artifact, session = export(kind, encoding, tmp_path / "one", model, examples)
    given = answers(session, examples, tmp_path)
    assert given.shape == wanted.shape
    noise = float(((given - wanted) ** 2).sum())
    assert 10 * np.log10(float((wanted**2).sum()) / max(noise, 1e-30)) >= least
    assert artifact.backend == kind
    assert artifact.size == sum((tmp_path / "one" / file).stat().st_size for file in artifact.files)
    after = model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("kind", RUNTIMES)
def test_the_same_model_gives_the_same_files_and_other_weights_the_same_structure(kind: str, tmp_path: Path) -> None:
    model, examples = make("residual")
    first, session = export(kind, Encoding(), tmp_path / "first", model, examples)
    again, _ = export(kind, Encoding(), tmp_path / "again", model, examples)
    assert again.key == first.key
    with torch.no_grad():
        model.head.weight += 0.01
    other, _ = export(kind, Encoding(), tmp_path / "other", model, examples)
    assert other.key != first.key
    assert other.structure == first.structure
    assert [port["name"] for port in session.inputs] == ["input_0" if kind == "executorch" else "x"]  # it has no names


@pytest.mark.parametrize("kind", RUNTIMES)
def test_a_model_that_can_t_be_followed_is_refused(kind: str, tmp_path: Path) -> None:
    class Stubborn(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(np.sort(x.detach().numpy(), -1)) * float(x.sum())

    with pytest.raises(Refusal, match=r"\w"):
        export(kind, Encoding(), tmp_path / "refused", Stubborn(), Split((torch.rand(8, 4),)))


@pytest.mark.parametrize("kind", RUNTIMES)
def test_without_its_package_it_says_how_to_install_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(BackendUnavailable, match=rf"pip install .*(onnx|\[{kind}\])|autoshrink doctor --setup {kind}"):
        backend(kind).require(here(kind))


@pytest.mark.parametrize("kind", RUNTIMES)
def test_an_option_that_it_does_not_have_is_named(kind: str) -> None:
    with pytest.raises(SpecError, match=r"options\.speed.*unknown option"):
        backend(kind).require(Hardware(name="here", kind="cpu", backend=kind, options={"speed": "full"}))


@pytest.mark.parametrize("kind", RUNTIMES)
@pytest.mark.parametrize(
    "encoding",
    [
        Encoding(scheme="static", weight_bits=4),
        Encoding(scheme="weight_only", weight_bits=16),
        Encoding(scheme="dynamic", weight_bits=32),
    ],
)
def test_what_it_does_not_accept_it_refuses(kind: str, encoding: Encoding, tmp_path: Path) -> None:
    assert backend(kind).accepts(encoding, here(kind))
    model, examples = make("residual")
    with pytest.raises(Refusal, match=r"bits|scheme"):
        export(kind, encoding, tmp_path / "refused", model, examples)
