"""A search on a machine over SSH: the same figures as here, and a cable that is pulled."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ssh_server import Sshd
from test_cli_search import autoshrink

HARDWARE = "{{name: a machine over SSH, kind: cpu, backend: onnxruntime, device: '{}'}}"


@pytest.fixture
def over_ssh(project: Path, edit: Callable[[str, str, str], None], sshd: Sshd) -> Path:
    edit("target.yaml", "hardware: cpu", f"hardware: {HARDWARE.format(sshd.address)}")
    return project


def records(folder: Path, name: str) -> int:
    file = folder / ".autoshrink" / name / "candidates.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def wait_for(folder: Path, name: str, count: int, driver: subprocess.Popen[str]) -> None:
    begun = time.monotonic()
    while records(folder, name) < count:
        assert time.monotonic() - begun < 120, "no candidate finished"
        assert driver.poll() is None, driver.communicate()[0]
        time.sleep(0.05)


def test_a_cable_that_is_pulled_stops_the_search_in_order_and_it_goes_on(over_ssh: Path, sshd: Sshd) -> None:
    command = [sys.executable, "-m", "autoshrink", "search", "target.yaml", "--name", "far"]
    driver = subprocess.Popen(command, cwd=over_ssh, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_for(over_ssh, "far", 2, driver)
    sshd.cut()  # it is asked again, and the search goes on
    wait_for(over_ssh, "far", 4, driver)
    sshd.stop()  # for good
    printed, _ = driver.communicate(timeout=120)
    assert driver.returncode == 4, printed
    assert "--resume far" in printed
    assert sshd.address in printed.replace("\n", "")
    assert "Traceback" not in printed
    sshd.start()
    autoshrink("search", "--resume", "far", "--json", "out.json", cwd=over_ssh)
    document = json.loads((over_ssh / "out.json").read_text())
    assert len(document["candidates"]) == 1 + 6
    assert document["front"]
    assert document["confirmed"]
    assert not [c["reason"] for c in document["candidates"] if c["state"] == "failed"]


def measured(file: Path, on: Path, folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(autoshrink("measure", str(file), "--on", str(on), "--json", cwd=folder).stdout)
    return found


def test_figures_are_those_of_the_machine_itself(over_ssh: Path, sshd: Sshd) -> None:
    autoshrink("search", "target.yaml", "--candidates", "1", "--name", "far", cwd=over_ssh)
    model = next((over_ssh / ".autoshrink" / "far" / "artifacts").glob("*/model.onnx"))
    places = {}
    for name, device in (("here", "local"), ("there", f"'{sshd.address}'")):
        places[name] = over_ssh / f"{name}.yaml"
        places[name].write_text(f"name: {name}\nkind: cpu\nbackend: onnxruntime\ndevice: {device}\n")
    for _ in range(3):
        here, there = (measured(model, places[name], over_ssh)["metrics"] for name in ("here", "there"))
        assert here["size"]["value"] == there["size"]["value"]
        ratio = there["latency"]["value"] / here["latency"]["value"]
        if 0.85 < ratio < 1.15:
            return  # else the machine's own pace may have changed in between
    pytest.fail(f"over SSH a call takes {ratio:.2f} times as long")
