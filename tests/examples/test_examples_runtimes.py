"""The digits for every runtime: a search ends with a front, whose accuracy the runtime by itself confirms."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from autoshrink.backends.base import DeployedBackend
from autoshrink.backends.readiness import ready
from autoshrink.backends.registry import backend
from autoshrink.core import Target, catalog_folder

EXAMPLE = catalog_folder("examples") / "digits"
TARGETS = {path.stem: Target.read(path) for path in sorted(EXAMPLE.glob("*.yaml"))}
RUNTIMES = [name for name, target in TARGETS.items() if isinstance(backend(target.hardware.backend), DeployedBackend)]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
ONE_IMAGE = 1 / 360
LIMITS = {"accuracy": {"max_drop": 0.1}, "budget": {"latency": "5 ms", "size": "1 MB"}}
"""Wider than the examples' own: among so few candidates there shall be a front, also on a slow machine."""

pytestmark = pytest.mark.usefixtures("environments")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example in a folder of its own, trained."""
    folder = tmp_path_factory.mktemp("runtimes") / "digits"
    shutil.copytree(EXAMPLE, folder)
    subprocess.run([sys.executable, "train.py"], cwd=folder, check=True, env=ENVIRONMENT)
    return folder


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_search_ends_with_a_front_that_the_runtime_confirms(name: str, digits: Path) -> None:
    if missing := ready(TARGETS[name].hardware):
        pytest.skip(missing)
    found = digits / f"{name}.json"
    wide = digits / f"{name}.wide.yaml"
    wide.write_text(yaml.safe_dump(yaml.safe_load((EXAMPLE / f"{name}.yaml").read_text()) | LIMITS))
    command = ["search", wide.name, "--candidates", "3", "--json", str(found)]
    done = subprocess.run(
        [sys.executable, "-m", "autoshrink", *command], cwd=digits, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(found.read_text())
    checked = subprocess.run(
        [sys.executable, "check.py", str(found)], cwd=digits, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
    lines = [line.split() for line in checked.stdout.splitlines() if " accuracy " in line]
    assert [int(line[0]) for line in lines] == sorted(document["front"])
    for line in lines:
        assert float(line[2]) == pytest.approx(float(line[3]), abs=ONE_IMAGE + 1e-4)
