"""The Fashion-MNIST example: its weights are what the README says, and absent data are a clear message."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from autoshrink.core import SpecError, Target, catalog_folder
from autoshrink.models.evaluate import predict
from autoshrink.models.workload import load_workload

EXAMPLE = catalog_folder("examples") / "fashion_mnist"
INSTALLED = Path("/usr/share/datasets/fashion-mnist").is_dir()


def test_the_weights_fit_into_the_repository() -> None:
    assert (EXAMPLE / "weights.safetensors").stat().st_size < 1_000_000


@pytest.mark.skipif(not INSTALLED, reason="no Fashion-MNIST here: apt-get install dataset-fashion-mnist")
def test_the_original_is_as_good_as_the_readme_says() -> None:
    workload = load_workload(Target.read(EXAMPLE / "target.yaml"))
    assert [len(split) for split in (workload.train, workload.validation, workload.test)] == [12_000, 6_000, 10_000]
    assert np.bincount(workload.train.labels.numpy()).tolist() == [1_200] * 10
    assert np.bincount(workload.test.labels.numpy()).tolist() == [1_000] * 10
    assert abs(workload.train.inputs[0].mean().item()) < 0.01
    assert workload.score(predict(workload.model, workload.test), workload.test.labels.numpy()) == pytest.approx(
        0.922, abs=0.002
    )


def test_absent_data_say_what_to_install(tmp_path: Path) -> None:
    for file in EXAMPLE.iterdir():
        if file.is_file():
            shutil.copy(file, tmp_path)
    data = tmp_path / "data.py"
    data.write_text(data.read_text().replace("/usr/share/datasets/fashion-mnist", str(tmp_path / "nowhere")))
    with pytest.raises(SpecError, match=r"data: data.py:splits failed: .*apt-get install dataset-fashion-mnist"):
        load_workload(Target.read(tmp_path / "target.yaml"))
