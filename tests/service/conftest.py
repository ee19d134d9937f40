"""A project with a hardware profile of its own, which a test may change as hardware changes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from in_process import InProcess

import autoshrink.service.run as service
from autoshrink.core import Target

PROFILE = "name: here\nkind: cpu\nbackend: onnxruntime\nthreads: 1\n"


@pytest.fixture(scope="module")
def project(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small project, for a profile beside it."""
    folder = Path(shutil.copytree(trained, tmp_path_factory.mktemp("service") / "mine"))
    (folder / "here.yaml").write_text(PROFILE)
    text = (folder / "target.yaml").read_text()
    (folder / "target.yaml").write_text(text.replace("hardware: cpu", "hardware: here.yaml"))
    return folder


@pytest.fixture(scope="module")
def pools() -> Iterator[list[InProcess]]:
    """Do the work of searches in this process, where gradient steps can be counted; everything else is as ever."""
    made: list[InProcess] = []

    def pool(target: Target, workers: int, address: str | None = None) -> InProcess:
        made.append(InProcess(target))
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service, "Pool", pool)
        yield made
