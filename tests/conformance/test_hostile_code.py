"""What no file of the project may do with what somebody else wrote: unpickle it, run it, unpack it unseen."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import autoshrink

PACKAGE = Path(autoshrink.__file__).parent
ROOT = PACKAGE.parent
FILES = sorted(path for part in ("autoshrink", "benchmarks", "examples") for path in (ROOT / part).rglob("*.py"))

UNPICKLING = {"pickle", "_pickle", "dill", "joblib", "cloudpickle", "shelve", "marshal", "copyreg"}
ONLY_WITH = {
    "torch.load": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
}
NEVER = {
    "eval": "runs text as code",
    "exec": "runs text as code",
    "compile": "makes code of text",
    "os.system": "runs a line in a shell",
    "os.popen": "runs a line in a shell",
    "subprocess.getoutput": "runs a line in a shell",
    "yaml.load": "makes any object: yaml.safe_load, or better read_yaml, which knows limits",
    "yaml.unsafe_load": "makes any object",
    "yaml.full_load": "makes any object",
    "yaml.load_all": "makes any object",
    "onnx.load": "follows paths out of the folder: models.onnx.check.load_model",
    "onnx.load_model": "follows paths out of the folder: models.onnx.check.load_model",
    "shutil.unpack_archive": "writes outside of the folder: core.archives.unpack",
    "pd.read_pickle": "unpickles",
    "mlflow.pyfunc.load_model": "runs what a model brings along",
    "torch.jit.load": "runs what a model brings along",
    "torch.hub.load": "runs code from elsewhere",
    "tempfile.mktemp": "lets another one in between",
}
UNPACKING = ("extractall", "extract")
LOADERS = {"SafeLoader", "CSafeLoader", "BaseLoader"}

EXCEPTIONS = {
    (
        "autoshrink/models/weights.py",
        "import pickle",
    ): "only to name the error that torch's own weights-only reader raises",
    ("autoshrink/models/onnx/tracing.py", "onnx.load"): "the file that torch wrote a line above, in a new folder",
    (
        "autoshrink/models/onnx/sessions.py",
        "onnx.load",
    ): "the file that the runtime wrote a line above, in a new folder",
    (
        "autoshrink/backends/mxnet/inside/graph.py",
        "onnx.load",
    ): "our own export, in MXNet's process, which has no autoshrink",
    ("autoshrink/devices/remote.py", "extractall"): "on the device: the harness, as this package packed and sent it",
    ("autoshrink/search/nodes.py", "extractall"): "on a node: the harness, as this package packed and sent it",
    ("benchmarks/peers_olive.py", "onnx.load"): "a peer's own output, in its own environment",
    ("benchmarks/peers_tools.py", "onnx.load"): "our own export, in a peer's environment",
}
"""Each with the reason why it is right there."""


def calls(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Find what is forbidden, as line and name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [item.name for item in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            for name in names:
                if name.partition(".")[0] in UNPICKLING:
                    yield node.lineno, f"import {name}"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and ".extractall(" in node.value:
            yield node.lineno, "extractall"  # a program that is sent to a device
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            given = {word.arg: word.value for word in node.keywords}
            plain = {arg: value.value for arg, value in given.items() if isinstance(value, ast.Constant)}
            if name in NEVER and not (name == "yaml.load" and _loader(given) in LOADERS):
                yield node.lineno, name
            if name in ONLY_WITH and plain.get(ONLY_WITH[name][0], ...) is not ONLY_WITH[name][1]:
                yield node.lineno, name
            if name in ("yaml.compose", "yaml.parse", "yaml.scan") and _loader(given) not in LOADERS:
                yield node.lineno, name
            if name.rpartition(".")[2] in UNPACKING and "." in name and given.get("filter") is None:
                yield node.lineno, name.rpartition(".")[2]
            if plain.get("shell", False) is not False:
                yield node.lineno, "shell=True"


def _loader(given: dict[str | None, ast.expr]) -> str:
    return ast.unparse(given["Loader"]).rpartition(".")[2] if "Loader" in given else ""


def found_in(text: str) -> list[str]:
    return [name for _, name in calls(ast.parse(text))]


@pytest.mark.parametrize("file", FILES, ids=[file.relative_to(ROOT).as_posix() for file in FILES])
def test_nothing_is_done_that_hostile_input_could_use(file: Path) -> None:
    place = file.relative_to(ROOT).as_posix()
    wrong = [
        f"line {line}: {name}" for line, name in calls(ast.parse(file.read_text())) if (place, name) not in EXCEPTIONS
    ]
    assert not wrong, "; ".join(wrong)


def test_every_exception_is_still_one() -> None:
    for place, name in EXCEPTIONS:
        assert name in found_in((ROOT / place).read_text()), f"{place} does no {name} any more: strike it off the list"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("import pickle", "import pickle"),
        ("from joblib import load", "import joblib"),
        ("torch.load(f)", "torch.load"),
        ("torch.load(f, weights_only=False)", "torch.load"),
        ("torch.load(f, weights_only=wish)", "torch.load"),
        ("np.load(f)", "np.load"),
        ("np.load(f, allow_pickle=True)", "np.load"),
        ("yaml.load(f)", "yaml.load"),
        ("yaml.load(f, Loader=yaml.FullLoader)", "yaml.load"),
        ("yaml.compose(f)", "yaml.compose"),
        ("eval('1')", "eval"),
        ("exec('1')", "exec"),
        ("subprocess.run('ls', shell=True)", "shell=True"),
        ("tarfile.open(f).extractall(to)", "extractall"),
        ("zipfile.ZipFile(f).extract('a', to)", "extract"),
        ("onnx.load(f)", "onnx.load"),
    ],
)
def test_what_is_forbidden_is_found(text: str, name: str) -> None:
    assert found_in(text) == [name]


@pytest.mark.parametrize(
    "text",
    [
        "torch.load(f, weights_only=True)",
        "np.load(f, allow_pickle=False)",
        "yaml.load(f, Loader=yaml.CSafeLoader)",
        "tarfile.open(f).extractall(to, filter='data')",
        "model.eval()",
        "re.compile('x')",
        "subprocess.run(['ls'], shell=False)",
    ],
)
def test_what_is_allowed_is_not(text: str) -> None:
    assert found_in(text) == []


WATCHED = """
import sys
loaded = []
sys.addaudithook(lambda event, args: loaded.append(args) if event == "pickle.find_class" else None)
from pathlib import Path
import numpy, optuna, torch
from safetensors.torch import save_file
from autoshrink.core import Source
from autoshrink.models.arrays import read_array
from autoshrink.models.weights import load_weights
from autoshrink.search.journal import Journal

del loaded[:]  # what packages unpickle of their own while they are imported
folder = Path(sys.argv[1])
layer = torch.nn.Linear(3, 2)
torch.save(layer.state_dict(), folder / "w.pt")
save_file(layer.state_dict(), folder / "w.safetensors")
numpy.save(folder / "a.npy", numpy.ones(3), allow_pickle=False)
for name in ("w.pt", "w.safetensors"):
    load_weights(layer, folder / name, Source("t.yaml"))
read_array(folder / "a.npy")
for _ in range(2):
    journal = Journal(folder / "study.journal", "mine", ["minimize"])
    seen = len(journal.take())
    journal.add(optuna.trial.create_trial(value=1.0, params={}, distributions={}))
assert seen == 1, seen
assert not issubclass(type(journal._file), optuna.storages.journal._base.BaseJournalSnapshot)
assert loaded == [], loaded
print("nothing was unpickled")
"""


def test_weights_arrays_and_studies_are_read_without_a_pickle(tmp_path: Path) -> None:
    """Python itself tells of each name that an unpickler looks up."""
    ended = subprocess.run([sys.executable, "-c", WATCHED, str(tmp_path)], capture_output=True, text=True)
    assert ended.stdout == "nothing was unpickled\n", ended.stderr
