"""This machine as a device: what comes back, and what every kind of failure is called."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from device_requests import ADAPTER, Ask, assert_ended, request

from autoshrink.core import AutoshrinkError, BackendUnavailable, DeviceError, Hardware, catalog_folder, names
from autoshrink.devices.adb import Adb
from autoshrink.devices.adb_benchmark import AdbBenchmark
from autoshrink.devices.base import ArtifactFailed
from autoshrink.devices.local import Local
from autoshrink.devices.registry import device
from autoshrink.devices.ssh import Ssh


def test_everything_asked_for_comes_back(ask: Ask, files: dict[str, Path]) -> None:
    answer, outputs = ask(
        wants=["memory", "latency", "energy"], predict=["test"], example="one", reference=["reference", "weights.npz"]
    )
    with np.load(files["test"]) as inputs, np.load(files["artifact"] / "weights.npz") as model:
        np.testing.assert_allclose(outputs["test"], inputs["x"] @ model["w"], rtol=1e-5)
    timed = answer["latency"]
    for name in ("artifact", "reference", "ratio"):
        assert 0 < timed[name]["low"] <= timed[name]["value"] <= timed[name]["high"]
    spread = [timed["artifact"][name] for name in ("median", "p90", "p95", "p99")]
    assert spread == sorted(spread)
    assert spread[0] > 0
    assert timed["ratio"]["value"] == pytest.approx(timed["artifact"]["value"] / timed["reference"]["value"])
    assert 0 < answer["memory"]["kept"] <= answer["memory"]["peak"] < 1e6
    assert len(answer["cores"]) == 1
    assert set(answer["cores"]) <= os.sched_getaffinity(0)
    assert answer["versions"]["linear"] == "1.0"
    assert "no energy sensor" in answer["energy"]["note"]


def test_only_what_is_asked_for_is_done(ask: Ask) -> None:
    answer, outputs = ask(pin=False)
    assert not outputs
    assert not {"memory", "latency", "energy"} & set(answer)
    assert answer["cores"] == []


def test_the_process_is_not_changed_by_the_callers_environment(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    disturbing = {"OMP_NUM_THREADS": "7", "OMP_PROC_BIND": "true", "MALLOC_ARENA_MAX": "1", "PYTHONSTARTUP": "x"}
    for name, value in {**disturbing, "OUR_LICENSE_FILE": "/x"}.items():
        monkeypatch.setenv(name, value)
    environment = ask(threads=2)[0]["adapter"]["environment"]
    assert environment["OMP_NUM_THREADS"] == environment["OPENBLAS_NUM_THREADS"] == "2"
    assert environment["OUR_LICENSE_FILE"] == "/x"
    assert not {"OMP_PROC_BIND", "MALLOC_ARENA_MAX", "PYTHONSTARTUP"} & set(environment)


FAILURES: list[tuple[dict[str, Any], type[AutoshrinkError], str]] = [
    ({"options": {"trouble": "load"}}, ArtifactFailed, "(load and run it once): ValueError: not a model"),
    ({"options": {"trouble": "run"}}, ArtifactFailed, "RuntimeError: this operator is not implemented"),
    ({"options": {"trouble": "crash"}}, ArtifactFailed, "(load and run it once): the process died of SIGSEGV"),
    ({"options": {"trouble": "batch"}, "predict": ["test"]}, ArtifactFailed, "(predict test): ValueError: only one"),
    ({"example": "two"}, ArtifactFailed, "the artifact takes 1 inputs (x), 2 were given"),
    (
        {"options": {"trouble": "load the reference"}, "reference": ["reference", "weights.npz"], "wants": ["latency"]},
        DeviceError,
        "this machine failed (reference: load it for timing): ValueError: not a model",
    ),
    ({"example": "absent"}, ArtifactFailed, "KeyError: 'absent'"),
]


@pytest.mark.parametrize(("changes", "error", "message"), FAILURES)
def test_each_failure_says_whose_it_is(
    ask: Ask,
    files: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    error: type[AutoshrinkError],
    message: str,
) -> None:
    files["two"] = files["one"].with_name("two.npz")
    np.savez(files["two"], x=np.ones((1, 32)), y=np.ones((1, 32)))
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    with pytest.raises(error) as raised:
        ask(**changes)
    assert message in str(raised.value)
    assert "Traceback" not in str(raised.value)
    assert not list((tmp_path / "scratch").iterdir())


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("import a_runtime_that_is_absent", BackendUnavailable, "No module named 'a_runtime_that_is_absent'"),
        ("1 / 0", DeviceError, "ZeroDivisionError"),
        ("def load(:", DeviceError, "SyntaxError"),
    ],
)
def test_an_adapter_that_does_not_start(
    ask: Ask, tmp_path: Path, source: str, error: type[AutoshrinkError], message: str
) -> None:
    (tmp_path / "adapter.py").write_text(source)
    with pytest.raises(error, match=r"import the adapter") as raised:
        ask(adapter=tmp_path / "adapter.py")
    assert message in str(raised.value)


def test_a_process_that_hangs_is_ended_with_its_children(ask: Ask, tmp_path: Path) -> None:
    children = tmp_path / "children"
    with pytest.raises(DeviceError, match=r"did not end within 3 s: artifact: load and run it once"):
        ask(timeout=3.0, options={"trouble": "hang", "children": str(children)})
    assert_ended(children)


def test_a_process_whose_caller_is_killed_goes_with_its_children(files: dict[str, Path], tmp_path: Path) -> None:
    children = tmp_path / "children"
    asked = request(options={"trouble": "hang", "children": str(children)})
    caller = multiprocessing.get_context("spawn").Process(target=Local().run, args=(ADAPTER, asked, files, 300.0))
    caller.start()
    begun = time.monotonic()
    while not children.exists() or len(children.read_text().split()) < 2:
        assert time.monotonic() - begun < 120
        time.sleep(0.02)
    caller.kill()
    assert_ended(children)


def test_the_fingerprint_shows_what_matters_and_stays_the_same() -> None:
    fingerprint = Local().fingerprint()
    assert fingerprint == Local().fingerprint()
    here = {"processor", "features", "machine", "cores", "memory", "system", "build", "libc", "python"}
    assert here <= set(fingerprint) <= here | {"model", "clock", "governor"}
    assert all(fingerprint[name] for name in ("processor", "machine", "cores", "memory", "system", "python"))


def test_a_profile_finds_its_device_or_says_what_is_missing() -> None:
    plain: dict[str, Any] = {"name": "box", "kind": "cpu", "backend": "onnxruntime"}
    assert isinstance(device(Hardware(**plain)), Local)
    with pytest.raises(DeviceError, match=rf"box needs 4096 cores.* this machine has {Local().cores}"):
        device(Hardware(**plain, threads=4096))
    assert isinstance(device(Hardware(**plain, device="ssh://me@board")), Ssh)
    assert device(Hardware(**plain, device="ssh://me@board,ssh://me@other")).places == 2
    assert isinstance(device(Hardware(**plain, device="adb://1234")), Adb)
    assert isinstance(device(Hardware(**plain, device="adb://1234", options={"benchmark": "/there"})), AdbBenchmark)
    assert device(Hardware(**plain, device="adb://1234,adb://5678")).places == 2
    with pytest.raises(DeviceError, match=r"box is described only"):
        device(Hardware(**plain, device="none"))


@pytest.mark.parametrize("name", [name for name in names("targets") if not name.startswith("cpu")])
def test_a_profile_without_an_address_says_what_to_write_there(name: str) -> None:
    hardware = Hardware.read(catalog_folder("targets") / f"{name}.yaml")
    if "://" not in hardware.device:
        return
    with pytest.raises(DeviceError, match=rf"copy .*{name}\.yaml, write .* in place of (SERIAL|USER@HOST), and name"):
        device(hardware)
