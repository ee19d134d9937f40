"""Data as one .npz file: the same splits as a function's, and errors that name the target's line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autoshrink.core import SpecError
from autoshrink.models.workload import load_workload

X, Y = np.linspace(-1, 1, 240, dtype=np.float32).reshape(40, 6), np.arange(40) % 3
WHOLE = {
    f"{split}_{part}": array
    for split in ("train", "validation", "test")
    for part, array in zip(("inputs", "labels"), (X, Y), strict=True)
}

SUM = """
from torch import nn

class Sum(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(6, 3)

    def forward(self, one, other):
        return self.head(one + 2 * other)

def build():
    return Sum()
"""


def without(*names: str) -> dict[str, np.ndarray]:
    return {name: array for name, array in WHOLE.items() if name not in names}


def test_the_splits_are_those_of_the_file(project, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", **WHOLE, calibration_inputs=X[:7])
    workload = load_workload(project(data="data.npz"))
    np.testing.assert_array_equal(workload.training_data.inputs[0], X)
    np.testing.assert_array_equal(workload.test.labels, Y)
    assert len(workload.calibration) == 7
    np.savez(tmp_path / "data.npz", **{**WHOLE, "test_labels": (Y + 1) % 3}, calibration_inputs=X[:7])
    assert load_workload(project(data="data.npz")).key != workload.key


def test_labels_and_training_data_may_be_left_out(project, tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "data.npz", validation_inputs=X, test_inputs=X)
    workload = load_workload(project(data="data.npz", metric="agreement"))
    assert workload.train is None
    assert workload.task == "label_free"


def test_a_model_with_several_inputs_gets_them_by_name(project, tmp_path: Path) -> None:
    arrays = {f"{split}_inputs.{name}": X for split in ("validation", "test") for name in ("other", "one")}
    np.savez(tmp_path / "data.npz", **arrays, validation_labels=Y, test_labels=Y)
    assert load_workload(project(SUM, data="data.npz")).validation.names == ("other", "one")


BAD: dict[str, tuple[dict[str, np.ndarray], str]] = {
    "an array of another name": ({**WHOLE, "val_inputs": X}, r"array 'val_inputs', which no split has; did you mean"),
    "no test split": (
        without("test_inputs", "test_labels"),
        r"data.npz has no array test_inputs \(it has train_inputs",
    ),
    "labels without inputs": (without("train_inputs"), "data.npz has no array train_inputs"),
    "one input and several": ({**WHOLE, "test_inputs.one": X}, r"has both test_inputs and test_inputs.NAME"),
    "labels by name": ({**WHOLE, "test_labels.one": Y}, r"array 'test_labels.one', which no split has"),
    "labels of another length": ({**WHOLE, "test_labels": Y[:9]}, "the test split has 40 inputs but 9 labels"),
    "values that are NaN": ({**WHOLE, "test_inputs": X * np.nan}, "test split has values in its input that are NaN"),
    "pickled objects": (
        {**WHOLE, "test_labels": np.array([{}] * 40)},
        "only numbers are read; save it with numpy.savez",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_wrong_file_is_told_with_the_target_s_line(name: str, project, tmp_path: Path) -> None:
    arrays, said = BAD[name]
    np.savez(tmp_path / "data.npz", allow_pickle=True, **arrays)
    with pytest.raises(SpecError, match=rf"target.yaml:1: data: .*{said}") as caught:
        load_workload(project(data="data.npz"))
    assert "\n" not in str(caught.value)
