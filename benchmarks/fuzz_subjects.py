"""What is fuzzed: for each kind of input, valid examples, how hostile ones are made of them, and who reads them."""

from __future__ import annotations

import functools
import io
import json
import random
import shutil
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from fuzz_mutations import mutate_bytes, mutate_json_lines, mutate_onnx, mutate_tflite, mutate_yaml
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save
from torch import nn

from autoshrink.backends.cortex_m.edges import without_float_edges
from autoshrink.backends.cortex_m.generate import generate
from autoshrink.backends.cortex_m.read_tflite import read_tflite
from autoshrink.backends.measuring import measure
from autoshrink.backends.registry import backend
from autoshrink.core import Artifact, AutoshrinkError, Document, Hardware, Recipe, Source, Space, Target, catalog_folder
from autoshrink.core.quantities import parse_quantity
from autoshrink.devices.local import Local
from autoshrink.devices.parcel import unpack
from autoshrink.models.arrays import read_arrays
from autoshrink.models.onnx.check import check_file
from autoshrink.models.weights import load_weights
from autoshrink.search.lineage import Reoptimization
from autoshrink.search.store import Store
from autoshrink.search.unfinished import Unfinished
from autoshrink.techniques.registry import check_recipe, check_space
from autoshrink.tracking.cursor import Cursor

__all__ = ["SUBJECTS", "Subject"]

_ROOT = Path(__file__).resolve().parents[1]
_UNITS = ("s", "B", "J", "W", "1", "J/cycle")


@dataclass(frozen=True)
class Subject:
    """One kind of input."""

    seeds: Callable[[], list[bytes]]
    """Valid examples."""
    mutate: Callable[[bytes, random.Random], bytes]
    read: Callable[[bytes, Path], object]
    """Reads a case, with an empty folder for its files."""
    allowed: tuple[type[Exception], ...] = ()
    """What the reader is documented to raise besides autoshrink's own errors."""
    slow: bool = False
    """Whether a case takes a process of its own."""


def _document(kind: type[Document], check: Callable[[Document], object]) -> Callable[[bytes, Path], object]:
    def reads(content: bytes, folder: Path) -> object:
        file = folder / "case.yaml"
        file.write_bytes(content)
        found = kind.read(file)
        check(found)
        again = kind.parse(_safe(found.to_yaml()), Source("again"))
        assert again == found, "what is written is read to another value"
        return found

    return reads


def _safe(text: str) -> object:
    import yaml

    return yaml.safe_load(text)


def _catalog(kind: str) -> Callable[[], list[bytes]]:
    return lambda: [path.read_bytes() for path in sorted(catalog_folder(kind).glob("*.yaml"))]


def _targets() -> list[bytes]:
    inline = b"""\
model: model.py:build
weights: weights.safetensors
data: data.py:splits
accuracy: {floor: 0.97}
hardware: {name: Board, kind: cpu, backend: onnxruntime, options: {a: 1}, energy: {power: 6 W, band: 50 %, source: x}}
budget: {latency: 40 us, memory: 2 MB, size: 100 kB, energy: 5 uJ}
objectives: [accuracy, latency, size]
search:
  space:
    steps:
      - {kind: channel_pruning, optional: true, ratio: {low: 0.1, high: 0.9}, criterion: [l1, taylor]}
      - {kind: quantization, weight_bits: [32, 8, 4], scheme: [static, dynamic]}
  candidates: 40
  time: 2 min
"""
    return [inline, *(path.read_bytes() for path in sorted(catalog_folder("examples").glob("*/target.yaml")))]


def _recipes() -> list[bytes]:
    return [
        b"steps:\n- {kind: low_rank, rank_ratio: 0.4}\n- {kind: quantization, weight_bits: 8, scheme: static}\n",
        b"steps:\n- {kind: channel_pruning, ratio: 0.5, criterion: l1}\n- {kind: distillation, temperature: 2.0}\n",
    ]


def _check_target(found: Document) -> None:
    assert isinstance(found, Target)
    check_space(found.search.space)
    found.budget.to_words()


def _quantity(content: bytes, folder: Path) -> object:
    text = content.decode(errors="surrogateescape")
    read_any = [unit for unit in _UNITS if _is(text, unit)]
    if not read_any:
        raise ValueError("no quantity")
    return read_any


def _is(text: str, unit: str) -> bool:
    try:
        value = parse_quantity(text, unit)  # type: ignore[arg-type]
    except ValueError:
        return False
    return 0 < value < float("inf")


@functools.cache
def _onnx_seeds() -> tuple[bytes, ...]:
    rng = np.random.default_rng(0)

    def weight(name: str, *shape: int) -> TensorProto:
        return numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32) / 8, name)

    shape = numpy_helper.from_array(np.array([-1, 64], np.int64), "shape")
    typed = helper.make_tensor("b", TensorProto.FLOAT, [10], [0.1] * 10)
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Reshape", ["p", "shape"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["y"]),
    ]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 8, 8])
    answer = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])
    graph = helper.make_graph(
        nodes, "net", [given], [answer], [weight("k", 4, 1, 3, 3), weight("w", 64, 10), shape, typed]
    )
    plain = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    branch = [
        helper.make_graph([helper.make_node(kind, ["x"], [name])], name, [], [_value(name)])
        for kind, name in (("Neg", "no"), ("Abs", "yes"))
    ]
    constant = helper.make_node("Constant", [], ["z"], value=numpy_helper.from_array(np.array(True)))
    choice = helper.make_node("If", ["z"], ["y"], else_branch=branch[0], then_branch=branch[1])
    other = helper.make_graph([constant, choice], "choice", [_value("x")], [_value("y")])
    nested = helper.make_model(other, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    return plain.SerializeToString(), nested.SerializeToString()


def _value(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3])


def _onnx(content: bytes, folder: Path) -> object:
    file = folder / "model.onnx"
    file.write_bytes(content)
    return check_file(file)


@functools.cache
def _tflite_seeds() -> tuple[bytes, ...]:
    sys.path.append(str(_ROOT / "tests" / "backends" / "cortex_m"))
    from mcu_examples import EXAMPLES

    names = ("mobile", "squeeze and excite", "perceptron, 4 bits", "inception", "mixer", "explicit borders")
    return tuple(EXAMPLES[name]() for name in names)


def _tflite(content: bytes, folder: Path) -> object:
    return generate(without_float_edges(read_tflite(content, "case.tflite")), folder, core="m4f")


def _runtime(kind: str, file: str) -> Callable[[bytes, Path], object]:
    """Read a case in the runtime itself, in a process of its own, as `autoshrink measure` does."""
    hardware = Hardware(name="here", kind="cpu", backend=kind, pin=False)

    def reads(content: bytes, folder: Path) -> object:
        (folder / file).write_bytes(content)
        if file.endswith(".onnx"):
            check_file(folder / file)
        artifact = Artifact(key="case", backend=kind, files=(file,), size=len(content))
        return measure(
            backend(kind), Local(), hardware, folder, artifact, wants=("memory",), effort="quick", timeout=60
        )

    return reads


@functools.cache
def _layer() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4))


def _weights(suffix: str) -> Callable[[bytes, Path], object]:
    def reads(content: bytes, folder: Path) -> object:
        file = folder / f"weights{suffix}"
        file.write_bytes(content)
        load_weights(_layer(), file, Source("target.yaml"))
        return file

    return reads


def _saved() -> list[bytes]:
    buffer = io.BytesIO()
    torch.save(_layer().state_dict(), buffer)
    return [buffer.getvalue()]


def _arrays() -> list[bytes]:
    buffer, packed = io.BytesIO(), io.BytesIO()
    arrays = {"0": np.ones((2, 3), np.float32), "labels": np.arange(4)}
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]
    return [buffer.getvalue(), packed.getvalue()]


def _npz(content: bytes, folder: Path) -> object:
    file = folder / "data.npz"
    file.write_bytes(content)
    return read_arrays(file)


def _parcels() -> list[bytes]:
    buffer, array = io.BytesIO(), io.BytesIO()
    np.save(array, np.ones((4, 10), np.float32))
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("answer.json", json.dumps({"device": {}, "cores": [], "load_average": 0.1}))
        archive.writestr("test.npy", array.getvalue())
    return [buffer.getvalue()]


def _parcel(content: bytes, folder: Path) -> object:
    made = unpack(content, "autoshrink-fuzz-")
    try:
        return [item.name for item in made.iterdir()]
    finally:
        shutil.rmtree(made)


def _records() -> list[bytes]:
    steps = {"steps": [{"kind": "low_rank", "rank_ratio": 0.1}]}
    metric = {"value": 1e-5, "unit": "s", "low": 1e-5, "high": 1.1e-5, "origin": "measured"}
    one = {
        "id": 1, "recipe": steps, "outcome": "measured", "reason": "", "accuracy": {"validation": 0.9, "test": None},
        "artifact": {"key": "k1", "backend": "onnxruntime", "files": ["model.onnx"], "size": 3, "notes": {}},
        "measurement": {"metrics": {"latency": metric}, "conditions": {"threads": 1}}, "facts": {"macs": 3.0},
        "seconds": {"train": 0.1},
    }  # fmt: skip
    return [b"".join(json.dumps({**one, "id": number}).encode() + b"\n" for number in range(3))]


def _record(content: bytes, folder: Path) -> object:
    (folder / "candidates.jsonl").write_bytes(content)
    store = Store(folder)
    return [store.artifact_folder(found) for found in store.candidates() if found.artifact is not None]


def _notes() -> list[bytes]:
    entry = {"run": "r", "intent": "", "at": 3, "figures": "f", "tags": "t", "model": None}
    lines = [["a1", {"low_rank.rank_ratio": 0.1}], ["a1"], ["b2", {"x": None}], [None, 3, entry], ["p", 1, entry]]
    return [b"".join(json.dumps(line).encode() + b"\n" for line in lines)]


def _note(content: bytes, folder: Path) -> object:
    for name in ("unfinished.jsonl", "tracking.jsonl"):
        (folder / name).write_bytes(content)
    return Unfinished(folder / "unfinished.jsonl").earlier, Cursor.open(folder)


def _abouts() -> list[bytes]:
    """Give one content that is right for all the small files of a search."""
    begun = {"earlier": "mine-1", "place": "k", "seconds": 1.5, "reasons": ["x"], "changes": [], "fresh": False}
    about = {"name": "mine-1", "target": "mine", "file": "mine.yaml", "folder": "/tmp", "candidate": 3, "key": "k"}
    cursor = {"uri": None, "search": "x", "experiment": None, "parent": None, "runs": {"1": {"run": "r", "at": 3}}}
    return [json.dumps(one).encode() for one in ({**about, **cursor}, {**about, **begun})]


def _about(content: bytes, folder: Path) -> object:
    for name in ("search.json", "reoptimization.json", "tracking.json", "picked.json", "hardware.json"):
        (folder / name).write_bytes(content)
    (folder / "target.yaml").write_bytes(_targets()[0])
    store, refused = Store(folder), []
    for reads in (lambda: Cursor.open(folder), lambda: Reoptimization.of(store), store.picked, store.target):
        try:
            reads()
        except AutoshrinkError as error:
            refused.append(error)
    if refused:
        raise refused[0]
    return store


SUBJECTS: dict[str, Subject] = {
    "target": Subject(_targets, mutate_yaml, _document(Target, _check_target)),
    "hardware": Subject(_catalog("targets"), mutate_yaml, _document(Hardware, lambda found: None)),
    "space": Subject(_catalog("search_spaces"), mutate_yaml, _document(Space, check_space)),  # type: ignore[arg-type]
    "recipe": Subject(_recipes, mutate_yaml, _document(Recipe, check_recipe)),  # type: ignore[arg-type]
    "quantity": Subject(lambda: [b"8 ms", b"1.5e3 KiB", b"0.4 \xc2\xb5J"], mutate_bytes, _quantity, (ValueError,)),
    "onnx": Subject(lambda: list(_onnx_seeds()), mutate_onnx, _onnx),
    "tflite": Subject(lambda: list(_tflite_seeds()), mutate_tflite, _tflite),
    "safetensors": Subject(lambda: [save(_layer().state_dict())], mutate_bytes, _weights(".safetensors")),
    "pt": Subject(_saved, mutate_bytes, _weights(".pt")),
    "npz": Subject(_arrays, mutate_bytes, _npz),
    "parcel": Subject(_parcels, mutate_bytes, _parcel),
    "records": Subject(_records, mutate_json_lines, _record),
    "notes": Subject(_notes, mutate_json_lines, _note),
    "search": Subject(_abouts, mutate_json_lines, _about),
    "onnx in its runtime": Subject(
        lambda: list(_onnx_seeds()), mutate_onnx, _runtime("onnxruntime", "model.onnx"), slow=True
    ),
    "tflite in its runtime": Subject(
        lambda: list(_tflite_seeds()), mutate_tflite, _runtime("litert", "model.tflite"), slow=True
    ),
}
