"""`autoshrink sensitivity`: the table, its JSON and its plot, and what a user can get wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autoshrink.cli import app
from autoshrink.core import Sensitivity


def test_the_table_is_printed_written_and_plotted(project: Path) -> None:
    result = CliRunner().invoke(app, ["sensitivity", "target.yaml", "--json", "table.json", "--plot", "table.png"])
    assert result.exit_code == 0, result.output
    found = Sensitivity.model_validate_json((project / "table.json").read_text())
    assert [layer.name for layer in found.layers] == ["1", "3", "5"]
    for words in ("Sensitivity of model.py:build", "prune 50%", "int4", "How to read it", "calibration examples"):
        assert words in " ".join(result.stdout.split())
    assert (project / "table.png").stat().st_size > 1000
    assert not (project / ".autoshrink").exists()


def test_json_on_the_standard_output_is_alone_there_and_ray_stays_asleep(project: Path) -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from autoshrink.cli import app;"
        "r = CliRunner().invoke(app, ['sensitivity', 'target.yaml', '--json', '-']);"
        "print(r.stdout); sys.exit(r.exit_code or 10 * ('ray' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) >= {"workload", "layers", "base_loss", "measure", "seconds"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.yaml"], "no such file"),
        (["target.yaml", "--plot", "table.svg"], "ends in .png or .html"),
        (["target.yaml", "--plot", "nowhere/table.png"], "no folder nowhere"),
        (["target.yaml", "--json", "nowhere/table.json"], "can't be written"),
    ],
)
def test_bad_arguments_end_with_a_message_to_act_on(arguments: list[str], said: str, project: Path) -> None:
    result = CliRunner().invoke(app, ["sensitivity", *arguments])
    assert result.exit_code == 2, result.output
    assert said in " ".join(result.stderr.split())


def test_a_model_without_layers_is_refused(project: Path, edit: Callable[[str, str, str], None]) -> None:
    edit("target.yaml", "weights: weights.safetensors\n", "")
    model = project / "model.py"
    model.write_text(
        "from torch import nn\n\ndef build():\n    return nn.Sequential(nn.Flatten(), nn.AdaptiveMaxPool1d(10))\n"
    )
    result = CliRunner().invoke(app, ["sensitivity", "target.yaml"])
    assert result.exit_code == 2, result.output
    assert "no convolution and no linear layer" in " ".join(result.stderr.split())
