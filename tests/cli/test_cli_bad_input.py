"""What a user can get wrong: each ends with exit code 2, one message to act on, and no traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autoshrink.cli import app

Edit = Callable[[str, str, str], None]

BAD = {
    "unknown key": (
        "target.yaml",
        "budget: {latency",
        "budget: {latencey",
        ["target.yaml:7", "did you mean 'latency'"],
    ),
    "unknown top key": (
        "target.yaml",
        "metric: accuracy",
        "metrik: accuracy",
        ["target.yaml:4", "did you mean 'metric'"],
    ),
    "bare number": ("target.yaml", "latency: 5 ms", "latency: 5", ["budget.latency", "8 ms"]),
    "unknown unit": ("target.yaml", "latency: 5 ms", "latency: 5 sec", ["budget.latency", "'sec'"]),
    "negative": ("target.yaml", "size: 1 MB", "size: -1 MB", ["budget.size"]),
    "missing key": ("target.yaml", "data: data.py:splits\n", "", ["data", "missing"]),
    "key twice": ("target.yaml", "metric: accuracy", "metric: accuracy\nmetric: f1", ["twice"]),
    "broken yaml": ("target.yaml", "accuracy: {max_drop: 0.05}", "accuracy: {max_drop: 0.05", ["YAML"]),
    "unknown hardware": ("target.yaml", "hardware: cpu", "hardware: cpuu", ["target.yaml:6", "did you mean 'cpu'"]),
    "unknown metric": ("target.yaml", "metric: accuracy", "metric: acuracy", ["metric", "accuracy"]),
    "unknown objective": (
        "target.yaml",
        "search:",
        "objectives: [accuracy, speed]\nsearch:",
        ["objectives", "latency"],
    ),
    "energy without constants": (
        "target.yaml",
        "hardware: cpu",
        "hardware: {name: bare, kind: cpu, backend: onnxruntime}\nobjectives: [accuracy, energy]",
        ["energy"],
    ),
    "unknown technique": ("target.yaml", "kind: distillation", "kind: distilation", ["did you mean 'distillation'"]),
    "unknown setting": ("target.yaml", "temperature: {", "temprature: {", ["did you mean 'temperature'"]),
    "setting out of range": ("target.yaml", "high: 0.8}", "high: 1.8}", ["ratio", "steps[0]"]),
    "range upside down": ("target.yaml", "{low: 0.1, high: 0.8}", "{low: 0.8, high: 0.1}", ["ratio", "below"]),
    "unknown space": ("target.yaml", "  space:\n    steps:", "  space: cnnn\n  stepz:", ["search_spaces"]),
    "two goals": ("target.yaml", "{max_drop: 0.05}", "{max_drop: 0.05, floor: 0.9}", ["floor", "max_drop"]),
    "no model file": ("target.yaml", "model.py:build", "modell.py:build", ["model", "modell.py"]),
    "no model function": ("target.yaml", "model.py:build", "model.py:biuld", ["model", "biuld", "build"]),
    "no function named": ("target.yaml", "model.py:build", "model.py", ["FILE.py:FUNCTION"]),
    "no weights file": (
        "target.yaml",
        "weights.safetensors",
        "nothing.safetensors",
        ["weights", "nothing.safetensors"],
    ),
    "weights do not fit": ("model.py", "nn.Linear(64, 48)", "nn.Linear(64, 40)", ["weights"]),
    "model raises": ("model.py", "torch.manual_seed(0)", "raise RuntimeError('no luck')", ["model.py", "no luck"]),
    "model is no module": ("model.py", "return nn", "return 1 or nn", ["model", "int"]),
    "model file has a syntax error": ("model.py", "def build():", "def build(:", ["model.py"]),
    "data raises": ("data.py", "digits = load_digits()", "raise OSError('no disk')", ["data.py", "no disk"]),
    "data has the wrong shape": ("data.py", "digits.images / 16", "digits.images[:, :4] / 16", ["shape"]),
    "labels too few": ("data.py", "y[:900])", "y[:899])", ["train", "899", "900"]),
    "labels out of range": ("data.py", "digits.target", "digits.target + 5", ["labels", "10"]),
    "a split is missing": ("data.py", '"test": (x[1300:], y[1300:])', "", ["test"]),
    "a split is empty": ("data.py", "x[1300:], y[1300:]", "x[9000:], y[9000:]", ["test"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_ends_with_a_message_to_act_on(case: str, project: Path, edit: Edit) -> None:
    name, old, new, said = BAD[case]
    edit(name, old, new)
    result = CliRunner().invoke(app, ["search", "target.yaml"])
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    message = " ".join(result.stderr.split())
    assert message.startswith("error: ")
    for words in said:
        assert words in message
    assert not (project / ".autoshrink").exists(), "a search that can't begin leaves nothing behind"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["search", "nowhere.yaml"], "no such file"),
        (["search"], "autoshrink search target.yaml"),
        (["search", "target.yaml", "--time", "5"], "--time"),
        (["search", "target.yaml", "--name", "../x"], "--name"),
        (["search", "--resume", "never"], "never"),
        (["front", "never"], "never"),
        (["front", "--report", "report.pdf"], "ends in .html or .md"),
        (["pick", "--alias", "best"], "--register"),
        (["measure", "nowhere.onnx", "--on", "cpu"], "nowhere.onnx"),
        (["measure", "model.py", "--on", "cpuu"], "did you mean"),
        (["schema", "targets"], "did you mean 'target'"),
        (["search", "target.yaml", "--store", "s3://bucket"], "folder"),
    ],
)
def test_bad_arguments_end_with_a_message_to_act_on(arguments: list[str], said: str, project: Path) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2, result.output
    assert said in " ".join(result.stderr.split())
    assert "Traceback" not in result.output
