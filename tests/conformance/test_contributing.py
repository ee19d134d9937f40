"""The two files that CONTRIBUTING.md shows do what it says: they are found by name, and they work."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from autoshrink import backends, techniques
from autoshrink.backends import registry as backend_registry
from autoshrink.backends.measuring import measure
from autoshrink.core import Encoding, Hardware, Recipe, Refusal, Source
from autoshrink.devices.registry import device
from autoshrink.models.splits import Split
from autoshrink.techniques import registry as technique_registry
from autoshrink.techniques.base import Context

PAGE = Path(__file__).parents[2] / "CONTRIBUTING.md"


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """Put the files of the page's diffs beside the package's own."""
    blocks = re.findall(
        r"```diff\n--- /dev/null\n\+\+\+ b/autoshrink/(\S+)\n@@.*?@@\n(.*?)```", PAGE.read_text("utf-8"), re.S
    )
    for path, lines in blocks:
        file = tmp_path / path
        file.parent.mkdir(exist_ok=True)
        file.write_text("".join(line.removeprefix("+") for line in lines.splitlines(keepends=True)), encoding="utf-8")
    caches = [technique_registry.kinds, technique_registry.technique, backend_registry.kinds, backend_registry.backend]
    for package in (techniques, backends):
        place = tmp_path / package.__name__.rpartition(".")[2]
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(place)])
    for cache in caches:
        cache.cache_clear()
    yield [path for path, _ in blocks]
    for cache in caches:
        cache.cache_clear()


def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(16, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4)).eval()


def test_the_page_shows_a_technique_and_a_backend(shown):
    assert shown == ["techniques/weight_clipping.py", "backends/torch_export.py"]


def test_the_technique_is_found_and_clips(shown):
    recipe = Recipe.parse({"steps": [{"kind": "weight_clipping", "deviations": 1.0}]}, Source("r"))
    (technique,) = technique_registry.techniques_of(recipe)
    before, after = net(), technique.apply(net(), Context(workload=None))
    bound = float(before[0].weight.detach().std())
    assert float(after[0].weight.detach().abs().max()) == pytest.approx(bound)
    assert float(before[0].weight.detach().abs().max()) > bound
    with pytest.raises(Refusal, match="no linear layer"):
        technique.apply(torch.nn.ReLU(), Context(workload=None))


def test_the_backend_is_found_and_runs(shown, tmp_path):
    runtime = backend_registry.backend("torch_export")
    hardware = Hardware(name="here", kind="cpu", backend="torch_export")
    runtime.require(hardware)
    example = Split((torch.randn(1, 16),))
    artifact = runtime.export(net(), example, Encoding(), example, tmp_path, hardware)
    load = importlib.import_module(type(runtime).__module__).load
    session = load(str(tmp_path / artifact.files[0]), {})
    inputs = torch.randn(5, 16)
    (outputs,) = session.run({session.inputs[0]["name"]: inputs.numpy()})
    np.testing.assert_allclose(outputs, net()(inputs).detach().numpy(), rtol=1e-5, atol=1e-6)
    found = measure(runtime, device(hardware), hardware, tmp_path, artifact, effort="quick").measurement
    assert {"latency", "memory", "size"} <= set(found.metrics)
    int8 = Encoding(scheme="static", weight_bits=8)
    with pytest.raises(Refusal, match="no static int8"):
        runtime.export(net(), example, int8, example, tmp_path, hardware)
