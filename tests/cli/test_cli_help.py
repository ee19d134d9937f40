"""Help comes at once, and the commands that only look work."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from autoshrink.cli import app
from autoshrink.core import names
from autoshrink.devices.harness.sensors import sensors

COMMANDS = ["demo", "search", "measure", "front", "pick", "apply", "reoptimize", "watch", "targets", "doctor", "schema"]


def test_help_names_every_command_and_the_exit_codes() -> None:
    printed = CliRunner().invoke(app, ["--help"]).output
    for command in COMMANDS:
        assert command in printed
    assert "3 no candidate meets" in " ".join(printed.split())


@pytest.mark.alone
def test_help_takes_less_than_half_a_second_and_imports_no_framework() -> None:
    code = (
        "import sys\nfrom autoshrink.cli import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'numpy', 'optuna', 'ray', 'mlflow', 'onnxruntime', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    spent = []
    for _ in range(5):  # the least, as a neighbour on the same core makes processor time longer
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent) < 0.5, "seconds of processor time; the wall time of a quiet machine"


def test_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).output.startswith("autoshrink 0")


def test_targets_lists_every_profile_and_whether_it_can_be_used() -> None:
    result = CliRunner().invoke(app, ["targets"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    for name in names("targets"):
        assert name in result.output
    assert "ready" in result.output


def test_doctor_finds_this_installation_whole() -> None:
    result = CliRunner().invoke(app, ["doctor"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "channel_pruning" in result.output
    assert "post_training" in result.output
    found, _ = sensors()
    said = f"energy sensors: {'; '.join(found)}" if found else "no energy sensors: energy figures are modelled"
    assert said in result.output


@pytest.mark.parametrize("kind", ["target", "hardware", "space", "recipe"])
def test_schema_is_json_that_names_the_keys(kind: str) -> None:
    schema = json.loads(CliRunner().invoke(app, ["schema", kind]).output)
    expected = {"target": "accuracy", "hardware": "backend", "space": "steps", "recipe": "steps"}[kind]
    assert expected in schema["properties"]
    if kind in ("space", "recipe"):
        assert "low_rank" in json.dumps(schema)
