"""A search on a phone over ADB, which here is a folder behind the real client: a cable pulled, and no Python there."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from adb_phone import Phone
from phone_benchmark import script
from test_cli_search import autoshrink
from test_cli_ssh import searching, wait_for

PROGRAM = "/data/local/tmp/benchmark_model"
WITH_PYTHON = "{{name: a phone with Python, kind: phone, backend: onnxruntime, device: 'adb://{}'}}"
WITHOUT = "{{name: a phone, kind: phone, backend: litert, device: 'adb://{}', pin: false, options: {{benchmark: {}}}}}"


def test_a_cable_that_is_pulled_stops_the_search_in_order_and_it_goes_on(
    project: Path, edit: Callable[[str, str, str], None], adb_phone: Phone
) -> None:
    serial = adb_phone.serial
    edit("target.yaml", "hardware: cpu", f"hardware: {WITH_PYTHON.format(serial + sys.executable)}")
    edit("target.yaml", "candidates: 6", "candidates: 3")
    with searching(project) as driver:
        wait_for(project, "far", 1, driver)
        adb_phone.cut()  # it is asked again, and the search goes on
        wait_for(project, "far", 2, driver)
        adb_phone.stop()  # for good
        printed, _ = driver.communicate(timeout=120)
    assert driver.returncode == 4, printed
    assert "--resume far" in printed
    assert f"adb://{serial}" in printed.replace("\n", "")
    assert "Traceback" not in printed
    adb_phone.start()
    autoshrink("search", "--resume", "far", "--json", "out.json", cwd=project)
    document = json.loads((project / "out.json").read_text())
    assert len(document["candidates"]) == 1 + 3
    assert document["front"]
    assert not [c["reason"] for c in document["candidates"] if c["state"] == "failed"]


def test_a_phone_without_python_measures_by_litert_s_own_program(
    project: Path, edit: Callable[[str, str, str], None], adb_phone: Phone
) -> None:
    pytest.importorskip("litert_torch", reason="pip install -c constraints.txt -e '.[litert]'")
    adb_phone.program(PROGRAM[1:], script(adb_phone.folder))
    edit("target.yaml", "hardware: cpu", f"hardware: {WITHOUT.format(adb_phone.serial, PROGRAM)}")
    (project / "recipe.yaml").write_text("steps: [{kind: quantization, weight_bits: 8, scheme: static}]\n")
    found = json.loads(autoshrink("apply", "recipe.yaml", "target.yaml", "--json", cwd=project).stdout)
    conditions, metrics = found["conditions"], found["metrics"]
    assert metrics["latency"]["origin"] == metrics["memory"]["origin"] == "measured"
    assert 0 < conditions["ratio"]["low"] <= conditions["ratio"]["high"]
    assert conditions["accuracy"].startswith("of the same file on this machine (")
    assert set(conditions["versions"]) == {"benchmark_model"}
    assert conditions["phone"]["before"]["thermal"] == "none"
    assert found["accuracy"]["test"] > 0.85
    assert "energy" not in metrics


def test_what_is_wrong_is_said_with_its_exit_code(project: Path, adb_phone: Phone) -> None:
    here = f"adb://{adb_phone.serial}"
    for backend, device, program, code, message in (
        (
            "litert",
            here,
            "benchmark_model",
            2,
            "options.benchmark: must be a path on the phone, such as /data/local/tmp/",
        ),
        ("litert", "local", PROGRAM, 2, "options.benchmark: is for phones (device: adb://SERIAL); on local Python"),
        ("onnxruntime", "adb://1A2B3C", None, 4, "adb://1A2B3C: no such phone is connected ('adb devices' lists those"),
    ):
        options = f"options: {{benchmark: {program}}}\n" if program else ""
        (project / "phone.yaml").write_text(
            f"name: a phone\nkind: phone\nbackend: {backend}\ndevice: {device}\n{options}"
        )
        (project / "model").write_bytes(b"no model")
        done = autoshrink("measure", "model", "--on", "phone.yaml", cwd=project, code=code)
        assert message in done.stderr.replace("\n", " ")
