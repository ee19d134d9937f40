"""From a torch module to MXNet's files: exported and checked on this side, translated and quantized on the other."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from autoshrink.core import DeviceError, Refusal
from autoshrink.devices.environment import without_python_settings
from autoshrink.models.agreement import check_agreement, one_by_one, without_fast_paths
from autoshrink.models.arrays import read_array
from autoshrink.models.exporting import TRACING_ERRORS, Positional, first_line, input_names, quiet
from autoshrink.models.onnx.sessions import open_session
from autoshrink.models.ranges import calibration_examples

if TYPE_CHECKING:
    from torch import nn

    from autoshrink.core import Encoding
    from autoshrink.models.splits import Split

__all__ = ["convert"]

_OPSET = 14
"""The first in which torch's exporter has attention."""
_TIMEOUT = 600.0


def convert(
    model: nn.Module, example: Split, encoding: Encoding, calibration: Split, folder: Path, python: Path
) -> dict[str, Any]:
    """Write ``model-symbol.json`` and ``model-0000.params`` for one example at a time.

    The float model is checked against the module before it is quantized.

    Args:
        model: in eval mode, on the CPU.
        example: one example.
        encoding: float32, or static int8.
        calibration: real examples, for the check and for ranges.
        folder: gets the files.
        python: the interpreter that has MXNet.

    Returns:
        What was counted.

    Raises:
        Refusal: the exporter can't follow the module, MXNet can't execute it so, or it computes something else.
    """
    names = input_names(model, example)
    batches = one_by_one(example, calibration)
    static = encoding.scheme == "static"
    with tempfile.TemporaryDirectory(prefix="autoshrink-mxnet-") as scratch:
        work = Path(scratch)
        _export(model, example, names, work / "model.onnx")
        _write(work / "check.npz", names, batches)
        if static:
            _write(work / "calibration.npz", names, [calibration_examples(calibration)])
        shapes = {name: list(tensor.shape) for name, tensor in zip(names, example.inputs, strict=True)}
        wanted = {"inputs": shapes, "granularity": encoding.granularity if static else None}
        (work / "wanted.json").write_text(json.dumps(wanted))
        report = _translate(work, python)
        if "answers" in report:
            check_agreement(model, batches, read_array(work / "answers.npy")[:, None])
        if "refused" in report:
            raise Refusal(report["refused"])
        for name in ("model-symbol.json", "model-0000.params"):
            shutil.copyfile(work / name, folder / name)
    counted: dict[str, Any] = report["counted"]
    return counted


def _export(model: nn.Module, example: Split, names: list[str], file: Path) -> None:
    """Write an ONNX file with fixed shapes, in which everything that is constant is one."""
    raw = file.with_name("raw.onnx")
    output = "output" if "output" not in names else "output_0"
    try:
        with torch.no_grad(), quiet(), without_fast_paths():
            torch.onnx.export(
                Positional(model, example.names).eval(),
                example.inputs,
                raw,
                dynamo=False,
                opset_version=_OPSET,
                input_names=names,
                output_names=[output],
            )
    except TRACING_ERRORS as error:
        raise Refusal(f"torch's exporter can't follow the model: {first_line(error)}") from error
    open_session(raw.read_bytes(), "basic", file)


def _write(file: Path, names: list[str], batches: list[Split]) -> None:
    columns = zip(*(batch.arrays() for batch in batches), strict=True)
    np.savez(file, *(np.concatenate(column) for column in columns))


def _translate(work: Path, python: Path) -> dict[str, Any]:
    """Have the other side translate and quantize; it may die of what it is given."""
    try:
        done = subprocess.run(
            [str(python), "-W", "ignore", "-m", "inside.main", str(work)],
            cwd=Path(__file__).parent,
            env={**without_python_settings(), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        raise DeviceError(f"MXNet did not convert the model within {_TIMEOUT:.0f} s") from None
    if done.returncode < 0:
        raise Refusal(f"MXNet died of signal {-done.returncode} while it converted the model")
    if done.returncode:
        raise RuntimeError(f"the translation to MXNet failed:\n{done.stderr.strip()}")
    report: dict[str, Any] = json.loads((work / "report.json").read_text())
    return report
