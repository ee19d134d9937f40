"""A runtime with an environment of its own: how it is made, and what is said where it is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autoshrink.cli import app

LINE = "run autoshrink doctor --setup mxnet"


@pytest.mark.usefixtures("environments")
def test_what_is_there_is_not_made_again() -> None:
    result = CliRunner().invoke(app, ["doctor", "--setup", "mxnet"])
    assert result.exit_code == 0
    assert "mxnet is there already" in result.output


@pytest.mark.parametrize(
    ("name", "said"), [("mxnt", "did you mean 'mxnet'?"), ("litert", "needs no environment of its own")]
)
def test_a_name_that_has_none_is_answered_with_those_that_have(name: str, said: str) -> None:
    result = CliRunner().invoke(app, ["doctor", "--setup", name])
    assert result.exit_code == 2
    assert said in result.output
    assert "mxnet" in result.output


def test_without_it_every_command_says_how_to_make_it(
    project: Path, edit: Callable[[str, str, str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    monkeypatch.setenv("COLUMNS", "400")
    edit("target.yaml", "hardware: cpu", "hardware: cpu-mxnet")
    (project / "model-symbol.json").write_text("{}")
    (project / "model-0000.params").touch()
    assert LINE in CliRunner().invoke(app, ["targets"]).output
    for command in (["search", "target.yaml"], ["measure", "model-symbol.json", "--on", "cpu-mxnet"]):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 4, result.output
        assert LINE in result.output
