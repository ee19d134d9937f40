"""Loading what a target names: every form of model, weights and data that works."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.metrics import f1_score
from torch import nn

from autoshrink.core import Refusal
from autoshrink.models.data import CALIBRATION_EXAMPLES
from autoshrink.models.evaluate import predict
from autoshrink.models.workload import load_workload


def data(body: str, returned: str = "{'train': part(0), 'validation': part(1), 'test': part(2)}") -> str:
    """Write a data file whose ``part(i)`` makes one split of 30 examples."""
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    head = "import collections\nimport numpy as np\nimport torch\nfrom torch.utils.data import *\n"
    return f"{head}\ndef part(seed):\n    torch.manual_seed(seed)\n{lines}\n\ndef splits():\n    return {returned}\n"


LABELED = "return torch.randn(30, 6), torch.arange(30) % 3"


def test_the_original_is_ready_to_be_compressed(project) -> None:
    workload = load_workload(project())
    assert workload.task == "classification"
    assert not any(module.training for module in workload.model.modules())
    assert (len(workload.train), len(workload.validation), len(workload.test)) == (300, 90, 90)
    assert workload.example.inputs[0].shape == (1, 6)
    assert workload.teacher.shape == (300, 3)
    assert workload.teacher is workload.teacher
    score = workload.score(predict(workload.model, workload.test), workload.test.labels.numpy())
    assert 0 <= score <= 1


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("w.safetensors", save_file),
        ("w.pt", torch.save),
        ("w.pth", lambda state, path: torch.save({"state_dict": state, "epoch": 3}, path)),
    ],
)
def test_weights_are_read(project, tmp_path: Path, name: str, save) -> None:
    state = {key: value + 1 for key, value in load_workload(project()).model.state_dict().items()}
    save(state, tmp_path / name)
    loaded = load_workload(project(weights=name)).model.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())


def test_tied_weights_may_be_stored_once(project, tmp_path: Path) -> None:
    tied = """
    from torch import nn

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(6, 6), nn.Linear(6, 6)
            self.two.weight = self.one.weight

        def forward(self, x):
            return self.two(self.one(x))

    def build():
        return Tied()
    """
    model = load_workload(project(model_py=tied)).model
    save_file({k: v * 2 for k, v in model.state_dict().items() if k != "two.weight"}, tmp_path / "w.safetensors")
    loaded = load_workload(project(model_py=tied, weights="w.safetensors")).model
    assert torch.equal(loaded.two.weight, model.one.weight * 2)
    assert loaded.two.weight is loaded.one.weight


def test_a_model_without_weights_is_the_same_each_time(project) -> None:
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    first, second = load_workload(project()), load_workload(project())
    assert torch.equal(first.model[0].weight, second.model[0].weight)
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_key_tells_weights_data_metric_and_code(project, tmp_path: Path) -> None:
    key = load_workload(project()).key
    assert load_workload(project()).key == key
    state = load_workload(project()).model.state_dict()
    save_file({**state, "0.bias": state["0.bias"] + 1e-6}, tmp_path / "w.safetensors")
    changes = [
        {"weights": "w.safetensors"},
        {"metric": "f1"},
        {"data_py": project.data.replace("0.1 *", "0.9 *")},
        {"model_py": project.model.replace("nn.ReLU()", "nn.GELU()")},
    ]
    keys = [load_workload(project(**change)).key for change in changes]
    assert len({key, *keys}) == 5


FORMS = {
    "dict of tensors": data(LABELED),
    "arrays of other widths": data(
        "return np.random.default_rng(seed).normal(size=(30, 6)), np.arange(30, dtype=np.uint8) % 3"
    ),
    "tuple": data(LABELED, "part(0), part(1), part(2)"),
    "tuple with calibration": data(LABELED, "part(0), part(1), part(2), part(3)[0]"),
    "namedtuple": data(LABELED, "collections.namedtuple('S', 'test train validation')(part(2), part(0), part(1))"),
    "dataset": data("return TensorDataset(torch.randn(30, 6).double(), torch.arange(30) % 3)"),
    "subset": data("return Subset(TensorDataset(torch.randn(60, 6), torch.arange(60) % 3), range(30))"),
    "labels as a column": data("return torch.randn(30, 6), (torch.arange(30) % 3)[:, None]"),
    "labels as a list": data("return torch.randn(30, 6), [i % 3 for i in range(30)]"),
    "read-only, reversed arrays": data(
        "x = np.ones((30, 6), np.float32)[::-1]\nx.flags.writeable = False\nreturn x, np.arange(30)[::-1] % 3"
    ),
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS.keys())
def test_every_form_of_data_gives_the_same_splits(project, text: str) -> None:
    workload = load_workload(project(data_py=text))
    for split in (workload.train, workload.validation, workload.test):
        assert split.inputs[0].shape == (30, 6)
        assert split.inputs[0].dtype == torch.float32
        assert split.labels.shape == (30,)
        assert split.labels.dtype == torch.int64
    assert workload.calibration.inputs[0].shape == (30, 6)
    if "namedtuple" in text:
        torch.manual_seed(2)
        assert torch.equal(workload.test.inputs[0], torch.randn(30, 6))


TWO = """
import torch
from torch import nn

class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.line, self.head = nn.Embedding(20, 8), nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, tokens, pixels):
        return {"hidden": pixels, "logits": self.head(self.table(tokens).mean(1) + self.line(pixels))}

def build():
    return Two()
"""

ITEMS = """
class Items(Dataset):
    def __len__(self):
        return 30
    def __getitem__(self, i):
        return {'pixels': torch.ones(6), 'tokens': np.arange(5)}, i % 3
"""

SEVERAL = {
    "by position": ("return (torch.randint(0, 20, (30, 5)), torch.randn(30, 6)), torch.arange(30) % 3", ()),
    "by keyword": (
        "return {'pixels': torch.randn(30, 6), 'tokens': torch.randint(0, 20, (30, 5))}, torch.arange(30) % 3",
        ("pixels", "tokens"),
    ),
    "a dataset of dicts": ("return Items()", ("pixels", "tokens")),
}


@pytest.mark.parametrize(("body", "names"), SEVERAL.values(), ids=SEVERAL.keys())
def test_several_inputs_and_integers(project, body: str, names: tuple[str, ...]) -> None:
    workload = load_workload(project(model_py=TWO, data_py=data(body).replace("def part", f"{ITEMS}\ndef part", 1)))
    assert workload.validation.names == names
    assert {tensor.dtype for tensor in workload.validation.inputs} == {torch.int64, torch.float32}
    assert predict(workload.model, workload.validation, batch=7).shape == (30, 3)


def test_calibration_is_a_fixed_slice_of_train(project) -> None:
    first, second = load_workload(project()), load_workload(project())
    assert len(first.calibration) == CALIBRATION_EXAMPLES
    assert torch.equal(first.calibration.inputs[0], second.calibration.inputs[0])
    rows = {tuple(row.tolist()) for row in first.train.inputs[0]}
    assert all(tuple(row.tolist()) in rows for row in first.calibration.inputs[0])


def test_without_train_there_is_nothing_to_learn_from(project) -> None:
    workload = load_workload(project(data_py=data(LABELED, "{'validation': part(1), 'test': part(2)}")))
    assert workload.train is None
    assert len(workload.calibration) == 30
    with pytest.raises(Refusal, match="no training data"):
        _ = workload.teacher


@pytest.mark.parametrize("metric", ["accuracy", "f1", "agreement", "own.py:score"])
def test_without_labels_the_original_is_the_measure(project, metric: str) -> None:
    own = "def score(outputs, original):\n    return float((outputs.argmax(1) == original.argmax(1)).mean())\n"
    text = data("return torch.randn(30, 6)" if metric != "agreement" else LABELED)
    workload = load_workload(project(data_py=text, metric=metric, files={"own.py": own}))
    assert workload.task == "label_free"
    assert workload.train.labels is None
    outputs = predict(workload.model, workload.test)
    assert workload.score(outputs, workload.test.labels.numpy()) == 1
    assert workload.score(outputs[:, ::-1], workload.test.labels.numpy()) < 1


@pytest.mark.parametrize("labels", ["torch.randn(30, 3)", "None"])
def test_regression(project, labels: str) -> None:
    workload = load_workload(project(data_py=data(f"return torch.randn(30, 6), {labels}"), metric="mse"))
    assert workload.task == "regression"
    outputs = predict(workload.model, workload.test)
    assert workload.train.labels.shape == (30, 3)
    expected = -np.mean((outputs - workload.test.labels.numpy()) ** 2)
    assert workload.score(outputs, workload.test.labels.numpy()) == pytest.approx(expected, rel=1e-6)
    assert (workload.score(outputs, workload.test.labels.numpy()) == 0) == (labels == "None")


def test_regression_labels_take_the_shape_of_the_outputs(project) -> None:
    one = "from torch import nn\ndef build(): return nn.Linear(6, 1)"
    text = data("return torch.randn(30, 6), torch.arange(30)")
    workload = load_workload(project(model_py=one, data_py=text, metric="mse"))
    assert workload.train.labels.shape == (30, 1)
    assert workload.train.labels.dtype == torch.float32


def test_f1_is_that_of_scikit_learn(project) -> None:
    workload = load_workload(project(metric="f1"))
    outputs, labels = predict(workload.model, workload.test), workload.test.labels.numpy()
    assert workload.score(outputs, labels) == pytest.approx(f1_score(labels, outputs.argmax(1), average="macro"))


def test_the_siblings_of_two_folders_do_not_meet(project, tmp_path: Path) -> None:
    sys.modules.pop("sizes", None)
    importing = (
        "from torch import nn\nimport sizes\ndef build():\n    import sizes as late\n    return nn.Linear(6, late.N)"
    )
    first = project(model_py=importing, files={"sizes.py": "N = 3"})
    wide = load_workload(first).model
    other = tmp_path / "other"
    other.mkdir()
    for name in ("data.py", "model.py", "target.yaml"):
        (other / name).write_text((tmp_path / name).read_text())
    (other / "sizes.py").write_text("N = 5")
    assert load_workload(type(first).read(other / "target.yaml")).model.out_features == 5
    assert str(tmp_path) not in sys.path
    assert load_workload(first).model.out_features == wide.out_features == 3
    assert sys.modules["sizes"].N == 3


def test_half_precision_weights_become_float32(project) -> None:
    half = "import torch\nfrom torch import nn\ndef build(): return nn.Linear(6, 3).to(torch.bfloat16).train()"
    model: nn.Module = load_workload(project(model_py=half)).model
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
