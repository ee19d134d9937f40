"""A fresh copy of the small project, what changes it, and a search of it that is finished."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from commands import autoshrink


@pytest.fixture
def project(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh copy of the project, which is also the current folder."""
    folder = tmp_path / "mine"
    shutil.copytree(trained, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def searched(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """A finished search: its folder, its document and what it printed."""
    folder = tmp_path_factory.mktemp("searched") / "mine"
    shutil.copytree(trained, folder)
    done = autoshrink("search", "target.yaml", "--name", "one", "--json", "out.json", cwd=folder)
    return folder, json.loads((folder / "out.json").read_text()), done.stdout
