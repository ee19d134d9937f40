"""The digits example: it trains in seconds, the same each time, and loads as a workload."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from autoshrink.core import Target, catalog_folder
from autoshrink.models.counting import count
from autoshrink.models.evaluate import predict
from autoshrink.models.workload import Workload, load_workload

EXAMPLE = catalog_folder("examples") / "digits"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workload, float]:
    """The example in a folder of its own, trained as a user would, and the processor time that it took."""
    folder = tmp_path_factory.mktemp("digits")
    for file in ("model.py", "data.py", "train.py", "target.yaml"):
        shutil.copy(EXAMPLE / file, folder)
    begun = _seconds_of_children()
    subprocess.run([sys.executable, "train.py"], cwd=folder, check=True, env=ENVIRONMENT)
    seconds = _seconds_of_children() - begun
    return load_workload(Target.read(folder / "target.yaml")), seconds


def _seconds_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_it_trains_in_seconds_and_well(trained: tuple[Workload, float]) -> None:
    workload, seconds = trained
    assert seconds < 30  # 4 to train and 4 to import, on a quiet core
    for split in (workload.validation, workload.test):
        assert workload.score(predict(workload.model, split), split.labels.numpy()) >= 0.98


def test_it_is_over_sized(trained: tuple[Workload, float]) -> None:
    counted = count(trained[0].model, trained[0].example)
    assert 300_000 < counted["parameters"] < 350_000


def test_the_splits_are_disjoint_and_hold_every_class_alike(trained: tuple[Workload, float]) -> None:
    workload = trained[0]
    splits = (workload.train, workload.validation, workload.test)
    assert [len(split) for split in splits] == [1137, 300, 360]
    images = [{tensor.numpy().tobytes() for tensor in split.inputs[0]} for split in splits]
    assert not images[0] & images[1]
    assert not images[0] & images[2]
    assert not images[1] & images[2]
    for split in splits:
        shares = np.bincount(split.labels.numpy(), minlength=10) / len(split)
        assert shares.min() > 0.09
        assert shares.max() < 0.11


def test_training_is_the_same_each_time(tmp_path: Path) -> None:
    script = "import sys, pathlib, train; train.EPOCHS = 1; [train.main(pathlib.Path(out)) for out in sys.argv[1:]]"
    command = [sys.executable, "-c", script, str(tmp_path / "one"), str(tmp_path / "two")]
    subprocess.run(command, cwd=EXAMPLE, check=True, env={**ENVIRONMENT, "PYTHONDONTWRITEBYTECODE": "1"})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert "0.weight" in load_file(tmp_path / "one")
