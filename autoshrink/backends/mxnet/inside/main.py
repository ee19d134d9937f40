"""Makes MXNet's files of an ONNX file: ``python -m inside.main FOLDER``, by the interpreter that has MXNet.

The folder holds ``model.onnx`` with fixed shapes; ``check.npz``, inputs to answer one by one; and ``wanted.json``: the
shapes of ``inputs`` by name, and the ``granularity`` of static int8, or null, with ``calibration.npz``. It gets
``model-symbol.json``, ``model-0000.params``, ``answers.npy`` of the float model, and ``report.json``: what was
``counted``, or why the model is ``refused``.

This folder imports NumPy, ONNX and MXNet only. It is no package, since nothing else could import it.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np

from .adapter import Session
from .graph import Graph, Unknown
from .model import Model, build
from .quantize import layers, quantize

_LONGEST = 300


def main(folder: Path) -> None:
    """Translate, answer, quantize, write."""
    wanted: dict[str, Any] = json.loads((folder / "wanted.json").read_text())
    report: dict[str, Any] = {}
    try:
        model = build(Graph(folder / "model.onnx"), wanted["inputs"])
        np.save(folder / "answers.npy", _answers(model, _read(folder / "check.npz", model.inputs)))
        report["answers"] = True
        if wanted["granularity"] is not None:
            model = quantize(model, _read(folder / "calibration.npz", model.inputs), wanted["granularity"])
        model.write(folder)
        Session.open(str(folder / "model-symbol.json")).run(_read(folder / "check.npz", model.inputs, 1))
        report["counted"] = _counted(model)
    except (Unknown, mx.MXNetError) as error:
        report["refused"] = f"MXNet can't execute the model: {_reason(error)}"
    (folder / "report.json").write_text(json.dumps(report))


def _read(file: Path, names: list[str], most: int | None = None) -> dict[str, np.ndarray]:
    """Read examples; everything is float32 in MXNet."""
    with np.load(file, allow_pickle=False) as arrays:
        return {name: arrays[f"arr_{at}"][:most].astype(np.float32) for at, name in enumerate(names)}


def _answers(model: Model, examples: dict[str, np.ndarray]) -> np.ndarray:
    session = Session(model.symbol, model.parameters, {})
    count = len(next(iter(examples.values())))
    rows = ({name: array[at : at + 1] for name, array in examples.items()} for at in range(count))
    return np.concatenate([session.run(one)[0] for one in rows])


def _counted(model: Model) -> dict[str, Any]:
    operators = Counter(node["op"] for node in model.nodes() if node["op"] != "null")
    stored = sum(array.dtype == np.int8 and array.ndim > 1 for array in model.parameters.values())
    return {"layers": dict(layers(model)), "stored": stored, "operators": dict(sorted(operators.items()))}


def _reason(error: Exception) -> str:
    """Give the message without MXNet's stack trace and source positions."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    chosen = next((line for line in lines if "Check failed" in line or "Error in operator" in line), lines[-1])
    return re.sub(r"\[\d+:\d+:\d+\] \S+ ", "", chosen.removeprefix("MXNetError: "))[:_LONGEST]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
