"""What the user takes home: it builds and runs in a plain shell, and answers as the interpreter does."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mcu_modules import build

from autoshrink.backends.cortex_m import CortexM
from autoshrink.backends.cortex_m.artifact import input_ports
from autoshrink.backends.cortex_m.oracle import ask
from autoshrink.core import (
    Accuracy,
    Artifact,
    Candidate,
    Encoding,
    Hardware,
    Measurement,
    Metric,
    Recipe,
    Source,
    Target,
    catalog_folder,
)
from autoshrink.models.splits import Split
from autoshrink.search.store import Store

INT8 = Encoding(scheme="static", weight_bits=8)
needs_tools = pytest.mark.skipif(
    any(shutil.which(name) is None for name in ("make", "arm-none-eabi-gcc", "qemu-system-arm")),
    reason="apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi make qemu-system-arm",
)


def profile(name: str) -> Hardware:
    return Hardware.read(catalog_folder("targets") / f"{name}.yaml")


def exported(network: str, hardware: Hardware, folder: Path, encoding: Encoding = INT8) -> tuple[Artifact, Split]:
    """Export a network, with its data: the labels are the rows' numbers."""
    folder.mkdir()
    model, inputs = build(network)
    if hasattr(model, "head"):
        with torch.no_grad():
            model.head.bias -= model(inputs).mean(0)  # so that its examples have different classes
    split = Split((inputs,), torch.arange(len(inputs)))
    return CortexM().export(model, split.rows(slice(0, 1)), encoding, split, folder, hardware), split


def candidate(artifact: Artifact, **metrics: Metric) -> Candidate:
    return Candidate(
        id=7,
        recipe=Recipe(),
        outcome="measured",
        artifact=artifact,
        measurement=Measurement(metrics=metrics, conditions={"emulator": "a */ comment's end"}),
        accuracy=Accuracy(validation=0.975, test=0.9625),
    )


def make(*arguments: str, folder: Path, code: int = 0) -> str:
    command = ["make", "--no-print-directory", "-C", str(folder), *arguments]
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode != 0) == bool(code), done.stdout + done.stderr
    assert "warning" not in done.stderr
    return done.stdout + (done.stderr if code else "")


def said(printed: str) -> tuple[int | None, list[int]]:
    """Read what `make run` prints: the class, and the outputs."""
    first = re.search(r"^class (\d+)$", printed, re.MULTILINE)
    outputs = printed.partition("outputs")[2].partition("\n")[2]
    return int(first[1]) if first else None, [int(number) for number in outputs.split()]


@needs_tools
@pytest.mark.parametrize("board", ["rp2040", "nrf52840", "stm32h743", "rp2350", "alif_e1c"])
def test_make_run_prints_what_the_interpreter_answers(tmp_path, board):
    hardware = profile(board)
    artifact, split = exported("ds_cnn", hardware, tmp_path / "artifact")
    home = tmp_path / "taken home"
    home.mkdir()
    content = (tmp_path / "artifact" / "model.tflite").read_bytes()
    answers = ask(content, [input_ports(artifact)[0].to_file(split.arrays()[0])]).integers
    classes = answers.argmax(axis=1)
    row = int(np.flatnonzero(classes != np.bincount(classes).argmax())[0])  # no constant answer would be right
    shown = split.rows(slice(row, row + 1))
    written = CortexM().deliver(tmp_path / "artifact", artifact, hardware, candidate(artifact), home, lambda: shown)
    assert sorted(written) == sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())
    assert (home / "model.tflite").read_bytes() == content
    make(folder=home)
    assert said(make("run", folder=home)) == (classes[row], answers[row].tolist())
    assert f"label there: {row}." in (home / "board" / "example.h").read_text()
    make("clean", folder=home)
    assert not (home / "build").exists()


@needs_tools
@pytest.mark.parametrize("board", ["stm32g0b1", "nrf52840", "alif_e1c"])
def test_its_size_is_the_measured_one_to_the_byte(tmp_path, board):
    hardware = profile(board)
    artifact, _ = exported("residual", hardware, tmp_path / "artifact")
    measured, _ = CortexM().measure(tmp_path / "artifact", artifact, hardware, {})
    home = tmp_path / "home"
    home.mkdir()
    done = candidate(artifact, **measured.metrics)
    CortexM().deliver(tmp_path / "artifact", artifact, hardware, done, home)
    flash, ram = (int(number) for number in re.findall(r"(\d+) bytes", make("size", folder=home)))
    figures = {name: metric.value for name, metric in measured.metrics.items()}
    assert flash == figures["size"]
    assert ram == figures["memory"] - figures["stack"]
    header = (home / "model" / "model.h").read_text()
    assert f"size         {flash:,} bytes, emulated" in header
    assert re.search(r"latency +[\d.]+ .?s \([\d.]+ .?s to [\d.]+ .?s\), modelled", header)
    assert ("not known: the profile states no energy" in header) == ("energy" not in figures)
    assert "accuracy     0.9625 on the whole test split" in header
    assert header.count("*/") == header.count("/*")


@needs_tools
@pytest.mark.parametrize("encoding", [INT8, INT8.model_copy(update={"weight_bits": 4})], ids=["int8", "int4"])
def test_outputs_that_are_no_classes_are_printed_without_one(tmp_path, encoding):
    hardware = profile("nrf52840")
    artifact, split = exported("segmentation", hardware, tmp_path / "artifact", encoding)
    home = tmp_path / "home"
    home.mkdir()
    CortexM().deliver(tmp_path / "artifact", artifact, hardware, candidate(artifact), home, lambda: split)
    found, outputs = said(make("run", folder=home).replace(" ...", ""))
    content = (home / "model.tflite").read_bytes()
    wanted = ask(content, [input_ports(artifact)[0].to_file(split.arrays()[0][:1])]).integers
    assert found is None
    assert outputs == wanted.reshape(-1)[:64].tolist()


@needs_tools
def test_what_does_not_fit_does_not_link(tmp_path):
    hardware = profile("nrf52840")
    small = hardware.model_copy(update={"limits": hardware.limits.model_copy(update={"size": 8192})})
    artifact, _ = exported("ds_cnn", small, tmp_path / "artifact")
    CortexM().deliver(tmp_path / "artifact", artifact, small, candidate(artifact), tmp_path)
    assert "region `FLASH' overflowed by" in make(folder=tmp_path, code=2)


def test_no_toolchain_and_no_data_are_needed_to_write_it(tmp_path, monkeypatch):
    hardware = profile("nrf52840")
    artifact, _ = exported("ds_cnn", hardware, tmp_path / "artifact")
    monkeypatch.setenv("PATH", str(tmp_path))
    CortexM().deliver(tmp_path / "artifact", artifact, hardware, candidate(artifact), tmp_path)
    example = (tmp_path / "board" / "example.h").read_text()
    assert "a pattern, and no real example" in example
    integers = [int(number) for number in re.search(r"\{(.*?)\}", example, re.DOTALL)[1].split(",")[:-1]]
    assert len(integers) == 49 * 10
    assert set(integers) == set(range(-128, 128))


def test_an_npu_takes_velas_file_and_a_note(tmp_path):
    hardware = profile("ethos-u55-128")
    artifact, _ = exported("residual", hardware, tmp_path / "artifact")
    home = tmp_path / "home"
    home.mkdir()
    latency = Metric(value=1e-3, unit="s", low=5e-4, high=2e-3, origin="modelled")
    done = candidate(artifact, latency=latency)
    assert CortexM().deliver(tmp_path / "artifact", artifact, hardware, done, home) == [
        "model_vela.tflite",
        "README.txt",
    ]
    compiled = (home / "model_vela.tflite").read_bytes()
    assert compiled[4:8] == b"TFL3"
    assert b"ethos-u" in compiled
    note = (home / "README.txt").read_text()
    assert "compiled for ethos-u55-128 by Vela 5" in note
    assert "latency      1.00 ms (500 µs to 2.00 ms), modelled" in note


MODEL = """
import torch
from torch import nn

def build():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))

def splits():
    data = torch.randn(40, 6, generator=torch.Generator().manual_seed(1))
    part = (data, (data.sum(1) > 0).long())
    return {"train": part, "validation": part, "test": part}
"""


@needs_tools
def test_pick_takes_it_home_with_the_users_first_example(tmp_path):
    (tmp_path / "model.py").write_text(MODEL)
    about = {"model": "model.py:build", "data": "model.py:splits", "accuracy": {"floor": 0.1}, "hardware": "nrf52840"}
    about["search"] = {"space": "mcu_int8", "candidates": 1}
    target = Target.parse(about, Source("target.yaml", folder=tmp_path))
    from autoshrink.search.work import compress_recipe, measure_artifact, workload_of

    made = compress_recipe(target, Recipe())
    measured = measure_artifact(target, made.artifact, made.files, scratch=tmp_path / "inputs")
    store = Store.create(tmp_path / "searches", target, "one")
    store.keep_artifact(made.artifact.key, made.files)
    store.write_json("hardware.json", {})
    original = candidate(made.artifact).model_copy(update={"id": 0, "measurement": measured.measurement})
    store.add(original)
    command = ["pick", "one", "0", "--to", "home", "--store", str(store.folder.parent)]
    done = subprocess.run(
        [sys.executable, "-m", "autoshrink", *command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Makefile, board/, figures.json, model.tflite, model/, recipe.yaml" in done.stdout
    home = tmp_path / "home"
    assert json.loads((home / "figures.json").read_text())["id"] == 0
    wanted = ask((home / "model.tflite").read_bytes(), workload_of(target).example.arrays()).integers[0]
    assert said(make("run", folder=home)) == (wanted.argmax(), wanted.tolist())
