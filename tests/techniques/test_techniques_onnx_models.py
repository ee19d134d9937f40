"""Techniques on a model that came from an ONNX file: narrowed, factorized, trained and exported as any other."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from autoshrink.core import Refusal, Target
from autoshrink.models.counting import count
from autoshrink.models.exporting import quiet
from autoshrink.models.onnx.export import export_float
from autoshrink.models.recovery import Recovery, recover
from autoshrink.models.workload import Workload, load_workload
from autoshrink.techniques.base import Context, Technique
from autoshrink.techniques.channel_pruning import ChannelPruning
from autoshrink.techniques.low_rank import LowRank

TARGET = """\
model: net.onnx
data: data.npz
accuracy: {max_drop: 0.05}
hardware: {name: this machine, kind: cpu, backend: onnxruntime}
search: {space: {steps: [{kind: distillation}]}}
"""


class Residual(nn.Module):
    """Convolutions around which numbers pass, a norm that the file keeps, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 32, 3, padding=1)
        self.second = nn.Conv2d(32, 32, 3, padding=1)
        self.norm = nn.BatchNorm2d(32)
        self.middle = nn.Linear(32 * 16, 48)
        self.head = nn.Linear(48, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (examples, 1, 8, 8) to (examples, 4)."""
        x = torch.relu(self.first(x))
        x = self.norm(torch.relu(self.second(x)) + x)
        x = nn.functional.max_pool2d(x, 2)
        return self.head(torch.relu(self.middle(x.flatten(1))))


class Attention(nn.Module):
    """A layer of a transformer over the rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.Linear(8, 32)
        self.layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
        self.head = nn.Linear(32, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (examples, 1, 8, 8) to (examples, 4)."""
        return self.head(self.layer(self.rows(x.squeeze(1))).mean(1))


def loaded(model: nn.Module, folder: Path) -> Workload:
    images = torch.rand(64, 1, 8, 8)
    labels = (torch.arange(64) % 4).numpy()
    settings = {"dynamo": False, "input_names": ["image"], "dynamic_axes": {"image": {0: "batch"}}}
    with quiet():
        torch.onnx.export(model.eval(), (images[:2],), folder / "net.onnx", **settings)
    splits = {f"{split}_{part}": array for split in ("train", "validation", "test") for part, array in
              (("inputs", images.numpy()), ("labels", labels))}  # fmt: skip
    np.savez(folder / "data.npz", **splits)
    (folder / "target.yaml").write_text(TARGET)
    return load_workload(Target.read(folder / "target.yaml"))


@pytest.mark.parametrize("kind", [Residual, Attention])
def test_it_is_pruned_factorized_trained_and_exported(
    kind: type[nn.Module], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    workload = loaded(kind(), tmp_path)
    before = {name: value.clone() for name, value in workload.model.state_dict().items()}
    for technique in (ChannelPruning(ratio=0.5), LowRank(rank_ratio=0.3)):
        model = applied(technique, workload)
        assert (
            count(model, workload.example)["parameters"] < 0.8 * count(workload.model, workload.example)["parameters"]
        )
        weights = [parameter.detach().clone() for parameter in model.parameters()]
        assert recover(model, workload, Recovery(epochs=1, batch_size=32), seed=0).steps == 2
        assert any(not torch.equal(one, other) for one, other in zip(weights, model.parameters(), strict=True))
        assert export_float(model, workload.example, workload.validation).difference < 1e-3
    assert capfd.readouterr().err == "", "torch prints the code of what does not fit"
    assert all(torch.equal(value, before[name]) for name, value in workload.model.state_dict().items())


def parameters(model: nn.Module, workload: Workload) -> float:
    return count(model, workload.example)["parameters"]


def applied(technique: Technique, workload: Workload) -> nn.Module:
    try:
        return technique.apply(copy.deepcopy(workload.model), Context(workload))
    except Refusal as refusal:
        raise AssertionError(f"{technique.kind} is refused") from refusal
