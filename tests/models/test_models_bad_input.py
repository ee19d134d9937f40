"""What a user can get wrong in model, weights, data and metric: each is one line that says what to do."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from autoshrink.core import SpecError
from autoshrink.models.workload import load_workload


def split(**change: str) -> str:
    """Write a data file with one part changed: x, y, train, validation, test or all."""
    parts = {
        "x": "torch.randn(40, 6)",
        "y": "torch.arange(40) % 3",
        "train": "(x, y)",
        "validation": "(x, y)",
        "test": "(x, y)",
        **change,
    }
    whole = change.get("all", "{'train': train, 'validation': validation, 'test': test}")
    lines = [f"    {name} = {parts[name]}" for name in ("x", "y", "train", "validation", "test")]
    imports = ["import numpy as np", "import torch", "from torch.utils.data import *"]
    return "\n".join([*imports, "def splits():", *lines, f"    return {whole}"])


def model(body: str) -> str:
    return f"import torch\nfrom torch import nn\n\n{body}\n"


ITEMS = """
class Items(Dataset):
    def __len__(self): return 4
    def __getitem__(self, i): return torch.randn(i + 1), 0
"""

BAD: dict[str, tuple[dict[str, Any], str]] = {
    # model
    "no ONNX file": (
        {"model": "net.onnx"},
        r"target.yaml:1: model: no file 'net.onnx'",
    ),
    "a file that is no ONNX": (
        {"model": "net.onnx", "files": {"net.onnx": "hello"}},
        r"target.yaml:1: model: net.onnx is no ONNX file",
    ),
    "weights beside an ONNX file": (
        {"model": "net.onnx", "weights": "w.pt", "files": {"net.onnx": "hello", "w.pt": "hello"}},
        r"target.yaml:\d: weights: net.onnx holds its own weights: leave out 'weights'",
    ),
    "a Hugging Face name": ({"model": "hf:bert-tiny"}, r"model: .*not supported yet"),
    "a timm name": ({"model": "timm:resnet18"}, r"model: .*not supported yet"),
    "no function": ({"model": "model.py"}, r"'model.py' is not FILE.py:FUNCTION, such as 'model.py:build'"),
    "no such file": ({"model": "modle.py:build"}, r"no file 'modle.py'.*did you mean 'model.py'"),
    "no such function": ({"model": "model.py:biuld"}, r"no function 'biuld'; did you mean 'build'"),
    "not a function": ({"model_py": model("build = 3")}, r"'build' in model.py is a int, not a function"),
    "an import that fails": (
        {"model_py": model("import no_such_package\n\ndef build(): ...")},
        r"model.py can't be loaded: model.py:4: ModuleNotFoundError: No module named 'no_such_package'",
    ),
    "a syntax error": ({"model_py": "def build(:\n"}, r"model.py can't be loaded: model.py:1: SyntaxError"),
    "a model that raises": (
        {"model_py": model("def build():\n    raise ValueError('no width')")},
        r"target.yaml:1: model: model.py:build failed: model.py:5: ValueError: no width$",
    ),
    "a model that exits": ({"model_py": model("def build():\n    raise SystemExit(3)")}, r"SystemExit: 3"),
    "a class, not a module": (
        {"model_py": model("def build(): return nn.ReLU")},
        r"returns the class ReLU, not a torch.nn.Module",
    ),
    "a function, not a module": ({"model_py": model("def build(): return len")}, r"not a torch.nn.Module"),
    "outputs that are no tensor": (
        {"model_py": model("class M(nn.Module):\n  def forward(self, x): return 'yes'\ndef build(): return M()")},
        r"the model's output is a str, not a tensor",
    ),
    "classes, not logits": (
        {"model_py": model("class M(nn.Module):\n  def forward(self, x): return x.argmax(1)\ndef build(): return M()")},
        r"int64 outputs: return the logits",
    ),
    "probabilities": (
        {"model_py": model("def build(): return nn.Sequential(nn.Linear(6, 3), nn.Softmax(1))")},
        r"probabilities: return the logits, without the softmax",
    ),
    "outputs that lose a batch of one": (
        {"model_py": model("class M(nn.Module):\n  def forward(self, x): return x.squeeze()\ndef build(): return M()")},
        r"for train inputs float32 \(1, 6\) the model gives outputs of shape \(6,\): .*count the examples, here 1",
    ),
    "outputs that are NaN": (
        {"model_py": model("class M(nn.Module):\n  def forward(self, x): return x / 0\ndef build(): return M()")},
        r"outputs that are NaN or infinite",
    ),
    # weights
    "no weights file": ({"weights": "w.safetensors"}, r"weights: no file 'w.safetensors'"),
    "a weights file of another kind": ({"weights": "model.py"}, r"neither .safetensors nor a weights-only .pt"),
    "a file that is no safetensors": (
        {"files": {"w.safetensors": "hello"}, "weights": "w.safetensors"},
        r"target.yaml:\d+: weights: w.safetensors is not a readable safetensors file",
    ),
    "a file that is no .pt": (
        {"files": {"w.pt": "hello"}, "weights": "w.pt"},
        r"w.pt is not a file that torch.save wrote",
    ),
    # data
    "no .npz": ({"data": "digits.npz"}, r"data: no file 'digits.npz'"),
    "a file that is no .npz": (
        {"data": "x.npz", "files": {"x.npz": "hello"}},
        r"target.yaml:1: data: x.npz.*File is not a zip file; save it with numpy.savez",
    ),
    "data that raise": (
        {"data_py": "def splits():\n    raise FileNotFoundError('no images; install them')"},
        r"data.py:splits failed: data.py:2: FileNotFoundError: no images; install them$",
    ),
    "one tensor": ({"data_py": split(all="x")}, r"returns a Tensor, not \{'train'"),
    "two splits": ({"data_py": split(all="((x, y), (x, y))")}, r"returns 2 values"),
    "an unknown split": ({"data_py": split(all="{'train': train, 'val': test, 'test': test}")}, r"unknown split 'val'"),
    "no test split": ({"data_py": split(all="{'train': train, 'validation': test}")}, r"returns no 'test' split"),
    "no split": ({"data_py": split(all="{}")}, r"returns no 'validation' split"),
    "a split of three": ({"data_py": split(train="(x, x, y)")}, r"the train split is a tuple of 3"),
    "lengths that differ": (
        {"data_py": split(validation="(x, y[:39])")},
        r"validation split has 40 inputs but 39 labels",
    ),
    "an empty split": ({"data_py": split(test="(x[:0], y[:0])")}, r"test split is empty"),
    "inputs that are NaN": (
        {"data_py": split(x="torch.randn(40, 6).index_fill(0, torch.tensor([7]), float('nan'))")},
        r"NaN or infinite, first in example 7",
    ),
    "labels that are NaN": (
        {"data_py": split(y="torch.full((40,), float('nan'))"), "metric": "mse"},
        r"values in its labels that are NaN",
    ),
    "text as inputs": ({"data_py": split(train="(np.array(['a', 'b']), y[:2])")}, r"only numbers can be used"),
    "a path as inputs": ({"data_py": split(train="('images/', y)")}, r"has a str as input"),
    "labels out of range": (
        {"data_py": split(y="1 + torch.arange(40) % 3")},
        r"target.yaml:\d+: data: the labels of the train split run from 1 to 3, but the model has 3 outputs: 0…2 fit",
    ),
    "negative labels": ({"data_py": split(y="torch.arange(40) % 3 - 1")}, r"run from -1 to 1"),
    "one-hot labels": (
        {"data_py": split(y="torch.nn.functional.one_hot(torch.arange(40) % 3)")},
        r"shape \(40, 3\).*not one-hot",
    ),
    "classes as floats": ({"data_py": split(y="(torch.arange(40) % 3).float()")}, r"are floats: give classes as whole"),
    "a regression of another width": ({"data_py": split(), "metric": "mse"}, r"have the shape \(40,\).*\(40, 3\)"),
    "inputs of the wrong shape": (
        {"data_py": split(x="torch.randn(40, 5)")},
        r"model: the model fails on the train split \(inputs float32 \(4, 5\)\): RuntimeError: mat1 and mat2",
    ),
    "inputs of the wrong kind": ({"data_py": split(x="torch.ones(40, 6).long()")}, r"inputs int64 \(4, 6\)"),
    "splits of different shapes": (
        {"data_py": split(test="(torch.randn(40, 7), y)")},
        r"test has inputs float32 \(40, 7\), validation has float32 \(40, 6\)",
    ),
    "labels in one split only": (
        {"data_py": split(test="x")},
        r"test and validation differ in whether they have labels",
    ),
    "an unknown keyword": (
        {"data_py": split(x="{'pixels': torch.randn(40, 6)}")},
        r"unexpected keyword argument 'pixels'",
    ),
    "a data loader": ({"data_py": split(train="DataLoader(TensorDataset(x, y))")}, r"train split is a DataLoader"),
    "a dataset of uneven examples": (
        {"data_py": split(train="Items()").replace("def splits", ITEMS + "\ndef splits")},
        r"examples that can't be stacked into one tensor",
    ),
    "an empty dataset": ({"data_py": split(train="Subset(TensorDataset(x, y), [])")}, r"train split is empty"),
    "one number as input": ({"data_py": split(train="(torch.tensor(1.0), y)")}, r"has one number as input"),
    "one number as labels": ({"data_py": split(train="(x, torch.tensor(1))")}, r"has one number as labels"),
    "labels that are text": ({"data_py": split(train="(x, ['shoe'] * 40)")}, r"has labels of type <U4"),
    "complex inputs": ({"data_py": split(x="torch.randn(40, 6).to(torch.complex64)")}, r"complex numbers as input"),
    "several inputs of other lengths": (
        {"data_py": split(train="((x, x[:9]), y)")},
        r"train split has 40 inputs\[0\] but 9 inputs\[1\]",
    ),
    "inputs that are missing in one split": (
        {"data_py": split(test="((x, x), y)")},
        r"test has inputs float32 \(40, 6\), float32 \(40, 6\), validation has float32 \(40, 6\)",
    ),
    "a token without a row": (
        {
            "model_py": model("def build(): return nn.Sequential(nn.Embedding(9, 3), nn.Flatten(), nn.Linear(18, 3))"),
            "data_py": split(x="torch.randint(0, 9, (40, 6)).index_fill(0, torch.tensor([30]), 9)"),
        },
        r"the model fails on the train split .*IndexError",
    ),
    # metric
    "an unknown metric": ({"metric": "acuracy"}, r"metric: no metric 'acuracy'; did you mean 'accuracy'"),
    "a metric that raises": (
        {"metric": "own.py:score", "files": {"own.py": "def score(o, y):\n    return o.nothing"}},
        r"target.yaml:\d+: metric: own.py:score failed: own.py:2: AttributeError",
    ),
    "a metric that gives no number": (
        {"metric": "own.py:score", "files": {"own.py": "def score(o, y):\n    return None"}},
        r"returns a NoneType, not a number",
    ),
    "a metric that gives NaN": (
        {"metric": "own.py:score", "files": {"own.py": "def score(o, y):\n    return float('nan')"}},
        r"returns nan, not a finite number",
    ),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_line_that_says_what_to_do(project, change: dict[str, Any], message: str) -> None:
    target = project(**change)
    with pytest.raises(SpecError) as caught:
        load_workload(target)
    text = str(caught.value)
    assert re.search(message, text), text
    assert re.match(r".*target\.yaml(:\d+)?: (model|weights|data|metric): ", text)
    assert len(text.splitlines()) == 1
    assert "Traceback" not in text


def weights_of(**change: torch.Tensor | None) -> dict[str, torch.Tensor]:
    net = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.BatchNorm1d(16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    state = {**net.state_dict(), **{name.replace("_", ".", 1): value for name, value in change.items()}}
    return {name: value for name, value in state.items() if value is not None}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (weights_of(**{"3_bias": None}), r"missing in the file: 3.bias$"),
        (weights_of(**{"9_bias": torch.ones(1)}), r"unknown to the model: 9.bias$"),
        (weights_of(**{"3_bias": torch.ones(4)}), r"3.bias is \(4,\) in the file and \(3,\) in the model$"),
        ({"other": torch.ones(1)}, r"missing in the file: 0.weight, 0.bias, 1.weight and \d more; unknown .*: other$"),
        (weights_of(**{"3_bias": torch.tensor([0, 0, float("nan")])}), r"the weight 3.bias has values that are NaN"),
    ],
)
def test_weights_that_do_not_fit(project, tmp_path: Path, state: dict[str, torch.Tensor], message: str) -> None:
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(SpecError, match=message):
        load_workload(project(weights="w.safetensors"))


class Evil:
    """Its pickle would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("whole_model", [True, False])
def test_nothing_is_unpickled(project, tmp_path: Path, whole_model: bool) -> None:
    trap = tmp_path / "executed"
    torch.save(torch.nn.Linear(6, 3) if whole_model else {"weight": Evil(trap)}, tmp_path / "w.pt")
    with pytest.raises(SpecError, match=r"w.pt holds pickled code, which is never run: save only the weights"):
        load_workload(project(weights="w.pt"))
    assert not trap.exists()


def test_a_pt_file_that_is_packed_is_not_unpacked(project, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w/data.pkl", bytes(50_000_000))
    with pytest.raises(
        SpecError, match=r"w.pt is not a readable .pt file: it would be 50000000 bytes when it is unpack"
    ):
        load_workload(project(weights="w.pt"))


@pytest.mark.parametrize("length", [2**63, 2**40, 90_000_000, 100])
def test_a_safetensors_header_of_absurd_length_is_refused(project, tmp_path: Path, length: int) -> None:
    (tmp_path / "w.safetensors").write_bytes(length.to_bytes(8, "little") + b"{}")
    with pytest.raises(SpecError, match=r"w.safetensors is not a readable safetensors file"):
        load_workload(project(weights="w.safetensors"))


@pytest.mark.parametrize("shape", ["[1099511627776,1099511627776]", "[-3,6]", "[4611686018427387904,16]"])
def test_a_safetensors_tensor_of_absurd_shape_is_refused(project, tmp_path: Path, shape: str) -> None:
    header = f'{{"weight":{{"dtype":"F32","shape":{shape},"data_offsets":[0,72]}}}}'.encode()
    (tmp_path / "w.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(72))
    with pytest.raises(SpecError, match=r"w.safetensors is not a readable safetensors file"):
        load_workload(project(weights="w.safetensors"))


def test_a_pt_file_that_is_something_else(project, tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "w.pt")
    with pytest.raises(SpecError, match=r"w.pt holds no state dict"):
        load_workload(project(weights="w.pt"))
    with zipfile.ZipFile(tmp_path / "w.pt", "w") as archive:
        archive.writestr("hello", "world")
    with pytest.raises(SpecError, match=r"w.pt is not a readable .pt file"):
        load_workload(project(weights="w.pt"))
