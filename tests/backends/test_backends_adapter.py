from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

from autoshrink.backends.registry import backend
from autoshrink.core import Encoding, Hardware
from autoshrink.models.splits import Split

ADAPTER = backend("onnxruntime").adapter
CPU = Hardware(name="cpu", kind="cpu", backend="onnxruntime")


@pytest.fixture(scope="module")
def adapter() -> ModuleType:
    spec = importlib.util.spec_from_file_location("adapter", ADAPTER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    examples = Split((torch.rand(4, 3),), None, ("features",))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)
            nn.init.ones_(self.layer.weight)
            nn.init.zeros_(self.layer.bias)

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return self.layer(features)

    backend("onnxruntime").export(Net().eval(), examples.rows(slice(0, 1)), Encoding(), examples, folder, CPU)
    return folder / "model.onnx"


@pytest.mark.parametrize("options", [{}, {"threads": 2}, {"graph_optimization": "disable"}])
def test_it_loads_and_runs(adapter: ModuleType, file: Path, options: dict[str, object]) -> None:
    session = adapter.load(str(file), options)
    assert session.inputs == [{"name": "features", "dtype": "float32", "shape": [None, 3]}]
    arrays = {"features": np.array([[1, 2, 3], [4, 5, 6]], np.float32)}
    (output,) = session.run(arrays)
    np.testing.assert_array_equal(output, [[6, 6], [15, 15]])
    assert session.notes == {"providers": ["CPUExecutionProvider"], "threads": options.get("threads", 1)}
    assert session.versions["onnxruntime"]
    run_once = session.bind(arrays)
    assert run_once() is None
    run_once()


def test_it_needs_nothing_of_autoshrink(file: Path, tmp_path: Path) -> None:
    code = f"""
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("adapter", {str(ADAPTER)!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
import numpy
session = module.load({str(file)!r}, {{}})
output = session.run({{"features": numpy.ones((1, 3), numpy.float32)}})[0].tolist()
print(json.dumps([output, [name for name in ("autoshrink", "torch", "onnx") if name in sys.modules]]))
"""
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[[3.0, 3.0]], []]
    assert done.stderr == ""


def test_a_provider_that_is_not_there_is_an_error(adapter: ModuleType, file: Path) -> None:
    with pytest.raises(RuntimeError, match=r"this onnxruntime has no TensorrtExecutionProvider, only .*CPU"):
        adapter.load(str(file), {"providers": ["TensorrtExecutionProvider", "CPUExecutionProvider"]})


def test_a_provider_that_fell_back_is_an_error(
    adapter: ModuleType, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As where the package has the provider and the machine has not its libraries.
    known = [*adapter.onnxruntime.get_available_providers(), "CUDAExecutionProvider"]
    monkeypatch.setattr(adapter.onnxruntime, "get_available_providers", lambda: known)
    with pytest.warns(UserWarning, match="not in available provider"), pytest.raises(RuntimeError, match="fell back"):
        adapter.load(str(file), {"providers": ["CUDAExecutionProvider"]})


def test_operators_that_the_provider_has_not_are_an_error_unless_the_processor_is_asked_for_too(
    adapter: ModuleType, file: Path
) -> None:
    other = next(name for name in adapter.onnxruntime.get_available_providers() if name != "CPUExecutionProvider")
    with pytest.raises(RuntimeError, match=f"fell back from {other} to the CPU for some operators"):
        adapter.load(str(file), {"providers": [other]})
    adapter.load(str(file), {"providers": [other, "CPUExecutionProvider"]})
