"""A small linear model as an artifact, and a way to have it measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from device_requests import Ask, asking

from autoshrink.devices.local import Local


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    generator = np.random.default_rng(0)
    for name, width in (("artifact", 4), ("reference", 256)):
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "weights.npz", w=generator.standard_normal((32, width)).astype(np.float32))
    np.savez(tmp_path / "test.npz", x=generator.standard_normal((37, 32)).astype(np.float32))
    np.savez(tmp_path / "one.npz", generator.standard_normal((1, 32)))
    return {name: tmp_path / name for name in ("artifact", "reference")} | {
        name: tmp_path / f"{name}.npz" for name in ("test", "one")
    }


@pytest.fixture
def ask(files: dict[str, Path]) -> Ask:
    return asking(Local(), files)
