from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from autoshrink.models.metrics import BUILT_IN
from autoshrink.models.recovery import Recovery, recover
from autoshrink.models.splits import Split
from autoshrink.models.workload import Workload


class Digits(nn.Module):
    """A CNN of 16 channels that learns the digits in two seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 16, 3, padding=1),
            nn.ReLU(),
        )
        self.head = nn.Linear(16, 10)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.body(image).mean((2, 3)))


@pytest.fixture(scope="session")
def digits() -> Workload:
    """The digits with a trained CNN."""
    data = load_digits()
    images = torch.tensor(data.images / 16, dtype=torch.float32)[:, None]
    labels = torch.tensor(data.target)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    train, validation, test = (
        Split((images[part],), labels[part]) for part in (order[:1000], order[1000:1300], order[1300:])
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = Digits().eval()
    calibration = train.rows(slice(0, 200))
    workload = Workload(model, train, validation, test, calibration, BUILT_IN["accuracy"], "classification", "digits")
    recover(model, workload, Recovery(alpha=1.0, epochs=15, learning_rate=1e-2), seed=0)
    return workload
