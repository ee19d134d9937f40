"""A folder with a small model, data and a target, of which a test changes what it is about."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from autoshrink.core import Target

MODEL = """
import torch
from torch import nn

def build():
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
"""

DATA = """
import torch

def splits():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(480, 6, generator=generator)
    y = (x[:, :3] + 0.1 * torch.randn(480, 3, generator=generator)).argmax(1)
    return {"train": (x[:300], y[:300]), "validation": (x[300:390], y[300:390]), "test": (x[390:], y[390:])}
"""

TARGET = """
model: model.py:build
data: data.py:splits
metric: accuracy
accuracy: {max_drop: 0.01}
hardware: {name: this machine, kind: cpu, backend: onnxruntime}
search: {space: {steps: [{kind: distillation}]}}
"""

Project = Callable[..., Target]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Write a folder of user files and read its target; keywords replace files or lines of the target."""

    def write(model_py: str = MODEL, data_py: str = DATA, files: dict[str, str] | None = None, **lines: str) -> Target:
        contents = {"model.py": model_py, "data.py": data_py, **(files or {})}
        for name, content in contents.items():
            (tmp_path / name).write_text(textwrap.dedent(content))
        kept = [line for line in TARGET.strip().splitlines() if line.partition(":")[0] not in lines]
        path = tmp_path / "target.yaml"
        path.write_text("\n".join([*(f"{key}: {value}" for key, value in lines.items()), *kept]))
        return Target.read(path)

    write.model, write.data = MODEL, DATA
    return write


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Compute as a worker does."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
