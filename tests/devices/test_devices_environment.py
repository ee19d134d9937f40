"""Environments of runtimes that can't be installed beside autoshrink: made whole or not at all, and measured in."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from device_requests import Ask

from autoshrink.backends.mxnet import MxNet
from autoshrink.core import BackendUnavailable
from autoshrink.devices.environment import Environment

PIN = "typing-extensions==4.12.2"
SMALL = Environment(name="small", pins=(PIN,), pythons=(10, 14), check="import typing_extensions")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "autoshrink"


def left(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.is_dir())


def test_it_is_made_once_by_one_of_two(cache: Path, ask: Ask) -> None:
    cache.mkdir()
    (cache / ".small-killed").mkdir()
    said: list[str] = []
    with ThreadPoolExecutor(2) as both:
        made = list(both.map(lambda _: SMALL.make(said.append), range(2)))
    assert sorted(made) == [False, True]
    assert left(cache) == [SMALL.folder.name]
    assert any(f"installing {PIN}" in line for line in said)
    code = "import sys, typing_extensions; print(sys.prefix)"
    answer = subprocess.run([SMALL.python, "-c", code], capture_output=True, text=True, check=True).stdout
    assert Path(answer.strip()) == SMALL.folder
    with pytest.raises(BackendUnavailable, match=rf"{SMALL.python} can't .*No module named 'numpy'"):
        ask(python=str(SMALL.python))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (
            {"pins": (PIN, "six==99")},
            r"No matching distribution.*; it needs pip's package index",
        ),
        ({"check": "import no_such_module"}, r"No module named 'no_such_module'; its packages don't work"),
        ({"pythons": (4, 5)}, r"needs Python 3.4 to 3.5, and there is none here: install python3.5"),
    ],
)
def test_what_can_t_be_made_leaves_nothing(changed: dict[str, object], reason: str, cache: Path) -> None:
    broken = replace(SMALL, **changed)  # type: ignore[arg-type]
    with pytest.raises(BackendUnavailable, match=reason):
        broken.make(lambda text: None)
    assert not broken.here
    assert left(cache) == []


def test_a_cache_that_can_t_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(BackendUnavailable, match=r"nothing can be kept in .*set XDG_CACHE_HOME"):
        SMALL.make(lambda text: None)


@pytest.mark.usefixtures("environments")
def test_the_harness_runs_on_the_numpy_there(
    ask: Ask, files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise ImportError('of autoshrink, not of the other interpreter')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    answer, outputs = ask(
        python=str(MxNet.environment.python), wants=["memory", "latency", "energy"], predict=["test"], example="one",
        reference=["reference", "weights.npz"],
    )  # fmt: skip
    with np.load(files["test"]) as inputs, np.load(files["artifact"] / "weights.npz") as model:
        np.testing.assert_allclose(outputs["test"], inputs["x"] @ model["w"], rtol=1e-5, atol=1e-5)
    assert answer["latency"]["ratio"]["value"] > 0
    assert answer["memory"]["peak"] > 0
