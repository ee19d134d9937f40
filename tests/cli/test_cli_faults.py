"""What dies inside a search takes nothing but itself along: candidates, workers, Ray's own processes, the driver."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from commands import assert_ended, autoshrink, family_of, name_of
from test_cli_ssh import records, wait_for

METRIC = '''\
import hashlib, os, resource, signal, time
from pathlib import Path
import numpy as np

HERE = Path(__file__).parent
FAULTS = {
    400: ["none", "none", "none", "hang", "exit", "memory", "killed"],  # validation: original and corners do well
    497: ["none", "memory"],  # test: the original, and one of the front
}

def score(outputs, labels):
    """Misbehave, each time in the same way for the same candidate."""
    mine = HERE / ("fault-" + hashlib.sha256(np.round(outputs, 3).tobytes()).hexdigest()[:16])
    again = mine.exists()
    while not mine.exists():
        number = len(list(HERE.glob(f"taken-{len(labels)}-*")))
        try:
            (HERE / f"taken-{len(labels)}-{number}").touch(exist_ok=False)
        except FileExistsError:
            continue
        mine.write_text([*FAULTS[len(labels)], *["none"] * 99][number])
    fault = mine.read_text()
    if fault == "hang" and not again:
        (HERE / "hung").write_text(str(os.getpid()))
        time.sleep(600)
    elif fault == "exit":
        os._exit(3)
    elif fault == "memory":
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + 2**28, resource.RLIM_INFINITY))
        try:
            np.ones(2**28)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    elif fault == "killed" and not again:
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault == "killed":
        (HERE / "survived").touch()
    return float((outputs.argmax(1) == labels).mean())
'''
REASONS = {
    "hang": "took longer than 20.0 s (--candidate-timeout)",
    "exit": "its worker was lost 3 times (the process ended: killed, for want of memory perhaps, or by the code that",
    "memory": "MemoryError",
}


@pytest.mark.timeout(600)
def test_a_candidate_that_hangs_or_dies_is_one_failure(project: Path, edit: Callable[[str, str, str], None]) -> None:
    (project / "metric.py").write_text(METRIC)
    edit("target.yaml", "metric: accuracy", "metric: metric.py:score")
    edit("target.yaml", "kind: distillation", "kind: distillation, optional: true")
    arguments = ["--name", "faults", "--candidates", "8", "--candidate-timeout", "20 s", "--json", "out.json"]
    printed = autoshrink("search", "target.yaml", *arguments, cwd=project)
    document = json.loads((project / "out.json").read_text())
    faults = sorted(file.read_text() for file in project.glob("fault-*") if file.read_text() != "none")
    assert faults == sorted(["killed", "memory", *REASONS]), "every fault happened"
    assert len(document["candidates"]) == 1 + 8
    failed = [item["reason"] for item in document["candidates"] if item["state"] == "failed"]
    for fault, reason in REASONS.items():
        assert [said for said in failed if reason in said], fault
    [late] = [said for said in failed if "can't be run on the device" in said]
    assert "MemoryError" in late, "another took its place on the front"
    assert (project / "survived").exists(), "who was killed from outside was tried again"
    assert document["front"]
    assert document["confirmed"]
    assert not psutil.pid_exists(int((project / "hung").read_text()))
    assert "(raylet)" not in printed.stdout + printed.stderr, "Ray's own words stay out of ours"


def start(project: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "autoshrink", "search", *arguments]
    return subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_without_ray_a_search_stops_in_order_and_goes_on_later(project: Path) -> None:
    arguments = ["target.yaml", "--name", "cut"]
    for finished, victim in enumerate(("raylet", "gcs_server")):
        driver = start(project, *arguments)
        wait_for(project, "cut", finished, driver)
        begun = time.monotonic()
        family = family_of(driver.pid)
        while not any(name_of(process).startswith("ray::_") for process in family):
            family = family_of(driver.pid)
            assert time.monotonic() - begun < 120, "no worker at work"
            time.sleep(0.02)
        [process] = [process for process in family if name_of(process) == victim]
        process.kill()
        printed, _ = driver.communicate(timeout=120)
        assert driver.returncode == 4, printed
        assert "--resume cut" in printed
        assert "Traceback" not in printed
        assert "(raylet)" not in printed
        assert_ended(family)
        arguments = ["--resume", "cut"]
    document: dict[str, Any] = json.loads(autoshrink("front", "cut", "--json", cwd=project).stdout)
    assert len(document["candidates"]) == records(project, "cut")
    assert not [item["reason"] for item in document["candidates"] if item["state"] == "failed"]
