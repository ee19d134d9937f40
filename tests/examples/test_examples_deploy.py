"""The units and the manifest: read by systemd itself, and by the command line that they call."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from autoshrink.cli import app
from autoshrink.core import catalog_folder
from autoshrink.service.schedule import Schedule

DEPLOY = catalog_folder("examples") / "deploy"
UNITS = sorted(path for path in DEPLOY.iterdir() if path.suffix in (".service", ".timer"))


def understood(arguments: list[str]) -> dict[str, Any]:
    """Have the command line read a command without running it."""
    group = typer.main.get_command(app)
    program, name, *rest = arguments
    assert Path(program).name == "autoshrink"
    context = group.make_context("autoshrink", [name, *rest], resilient_parsing=False)
    command = group.get_command(context, name)
    return command.make_context(name, rest, parent=context).params


def commands() -> list[list[str]]:
    lines = [line for unit in UNITS for line in unit.read_text().splitlines()]
    return [shlex.split(line.partition("=")[2]) for line in lines if line.startswith("ExecStart=")]


@pytest.mark.parametrize("unit", UNITS, ids=[path.name for path in UNITS])
def test_systemd_takes_a_unit(unit: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze: apt-get install systemd")
    for path in UNITS:  # a timer wants its service beside it
        text = path.read_text().replace("/opt/autoshrink/bin/autoshrink", str(tmp_path / "autoshrink"))
        (tmp_path / path.name).write_text(text)
    (tmp_path / "autoshrink").write_text("#!/bin/sh\n")
    (tmp_path / "autoshrink").chmod(0o755)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", str(tmp_path / unit.name)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert unit.name not in done.stderr


def test_every_unit_is_there() -> None:
    assert {path.name for path in UNITS} == {
        "autoshrink-serve.service",
        "autoshrink-watch.service",
        "autoshrink-visit.service",
        "autoshrink-visit.timer",
    }


VISITS = [command for command in commands() if "serve" not in command]


@pytest.mark.parametrize("command", VISITS, ids=lambda command: command[-3])
def test_a_unit_calls_a_command_that_there_is(command: list[str]) -> None:
    found = understood(command)
    assert found["targets"] == [Path("digits/target.yaml")]
    assert found["once"] != (found["every"] is not None)


def test_the_service_is_ended_without_its_searches() -> None:
    [command] = [command for command in commands() if command not in VISITS]
    assert understood(command)["projects"] == [Path("/srv/models")]
    assert "KillMode=process" in (DEPLOY / "autoshrink-serve.service").read_text().splitlines()


def test_the_manifest_is_a_cron_job_that_visits_once() -> None:
    manifest = yaml.safe_load((DEPLOY / "cronjob.yaml").read_text())
    assert (manifest["apiVersion"], manifest["kind"]) == ("batch/v1", "CronJob")
    Schedule(cron=manifest["spec"]["schedule"]).trigger()
    assert manifest["spec"]["concurrencyPolicy"] == "Forbid"
    pod = manifest["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    found = understood(container["command"])
    assert found["once"]
    assert pod["restartPolicy"] in ("OnFailure", "Never")
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}
    # Whole cores belong to a pod whose requests are its limits.
    assert container["resources"]["requests"] == container["resources"]["limits"]
