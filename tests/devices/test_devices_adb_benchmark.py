"""A phone without Python: what LiteRT's own program prints, and a run of what stands in for it (`phone_benchmark`)."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adb_phone import Phone
from device_requests import Ask, asking
from phone_benchmark import script

from autoshrink.backends.litert.benchmark import benchmark_model
from autoshrink.core import BackendUnavailable, DeviceError, Hardware
from autoshrink.devices.adb_benchmark import AdbBenchmark
from autoshrink.devices.base import ArtifactFailed
from autoshrink.devices.benchmark import Figures, race, read_figures

PROGRAM = "/data/local/tmp/benchmark_model"
PIXEL = {"name": "p", "kind": "phone", "backend": "litert", "device": "adb://1", "options": {"benchmark": PROGRAM}}
HOW = benchmark_model(Hardware(**PIXEL))

# What three builds printed on three devices: a phone in 2026, a server in 2021, a board in 2024.
NEW = """\
INFO: Running benchmark for at least 50 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.

INFO: count=50 first=72635 curr=42240 min=42134 max=72635 avg=43536.2 std=4813 p5=42168 median=42430 p95=49447

INFO: Running benchmark for at least 5 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
INFO: count=24 first=42142 curr=42232 min=42142 max=42763 avg=42435.4 std=147 p5=42232 median=42405 p95=42729

INFO: Inference timings in us: Init: 143669, First inference: 72635, Warmup (avg): 43536.2, Inference (avg): 42435.4
INFO: Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE to the actual
INFO: Memory footprint delta from the start of the tool (MB): init=23.5625 overall=27.5859
"""
OLD = """\
count=6 first=140706 curr=74599 min=74599 max=140706 avg=85791.2 std=24559
count=50 first=74456 curr=74516 min=73909 max=75323 avg=74481.6 std=268
Peak memory footprint (MB): init=6.44141 overall=64.8633
"""
ONE = """\
INFO: count=1 curr=1041765
INFO: count=50 curr=7(all same)
"""


def test_what_the_program_prints_is_read() -> None:
    new = read_figures(NEW, HOW)
    assert (new.value, new.median, new.p95) == pytest.approx((42435.4e-6, 42405e-6, 42729e-6))
    assert (new.calls, new.all_calls, new.memory) == (24, 74, int(27.5859 * 2**20))
    old = read_figures(OLD, HOW)
    assert (old.value, old.median, old.p95) == pytest.approx((74481.6e-6, 74481.6e-6, 75323e-6))
    assert old.memory == int(64.8633 * 2**20)
    one = read_figures(ONE, HOW)
    assert (one.value, one.calls, one.all_calls, one.memory) == (pytest.approx(7e-6), 50, 51, None)
    with pytest.raises(ValueError, match="no times that can be read"):
        read_figures("INFO: count=0", HOW)


def test_a_phone_that_slows_down_slows_both_and_that_is_its_pace() -> None:
    figures = iter([10, 20, 40, 11, 10, 20, 22, 11, 30, 60])  # the reference is first in every second round
    order: list[str] = []

    def run(name: str) -> Figures:
        order.append(name)
        value = float(next(figures))
        return Figures(value, value, value, 5, 6, None)

    settings = {"width": 0.01, "patience": 0.0, "reference": 10.0}
    result = race(run, ["artifact", "reference"], settings)
    assert order == ["artifact", "reference", "reference", "artifact"] * 2 + ["artifact", "reference"]
    assert (result["artifact"]["value"], result["artifact"]["low"], result["artifact"]["high"]) == (11, 10, 30)
    assert result["reference"]["value"] == 22
    assert result["ratio"]["value"] == 0.5
    assert result["pace"] == pytest.approx(2.2)
    assert not result["quiet"]
    assert (result["rounds"], result["artifact"]["calls"]) == (5, 25)


@pytest.fixture
def phone(adb_phone: Phone) -> Phone:
    adb_phone.program(PROGRAM[1:], script(adb_phone.folder))
    for core, clock in ((0, 1_700_000), (1, 2_910_000)):
        file = adb_phone.folder / f"sys/devices/system/cpu/cpu{core}/cpufreq/cpuinfo_max_freq"
        file.parent.mkdir(parents=True)
        file.write_text(f"{clock}\n")
    return adb_phone


@pytest.fixture
def place(phone: Phone) -> AdbBenchmark:
    return AdbBenchmark(f"adb://{phone.serial}", PROGRAM)


@pytest.fixture
def ask_there(place: AdbBenchmark, files: dict[str, Path]) -> Ask:
    return asking(place, files)


WANTED: dict[str, Any] = {"benchmark": HOW, "wants": ["memory", "latency"], "reference": ["reference", "weights.npz"]}


@pytest.mark.alone
def test_times_are_the_phone_s_and_predictions_are_this_machine_s(ask_there: Ask, ask: Ask, phone: Phone) -> None:
    there, outputs = ask_there(**WANTED, predict=["test"], pin=False)
    _, expected = ask(predict=["test"])
    np.testing.assert_array_equal(outputs["test"], expected["test"])
    assert "of the same file on this machine (python 3." in there["predicted"]
    assert there["device"]["build"] == "folder/folder:14/TEST"  # the phone's facts, not this machine's
    timed = there["latency"]
    for name in ("artifact", "reference", "ratio"):
        assert 0 < timed[name]["low"] <= timed[name]["value"] <= timed[name]["high"]
    assert there["memory"]["peak"] >= 0
    assert set(there["versions"]) == {"benchmark_model"}
    assert there["phone"]["after"]["thermal"] == "none"
    assert not (phone.folder / "data/local/tmp/autoshrink/models").exists()


def test_the_cores_with_the_highest_clock_are_taken(ask_there: Ask, phone: Phone) -> None:
    phone.program("bin/taskset", '#!/bin/sh\necho "$1" >>"$(dirname $0)/../masks"; shift; exec "$@"\n')
    assert ask_there(benchmark=HOW, wants=["memory"])[0]["cores"] == [1]
    assert ask_there(benchmark=HOW, wants=["memory"], threads=2)[0]["cores"] == [0, 1]
    assert (phone.folder / "masks").read_text().split() == ["2", "3"]


def test_energy_is_what_the_rails_tell_less_the_rest(ask_there: Ask, phone: Phone) -> None:
    rails = phone.folder / "sys/bus/iio/devices/iio:device0"
    rails.mkdir(parents=True)
    (rails / "so_far").write_text("1000 5000")
    (rails / "energy_value").write_text("CH3(T=5000)[S2M_VDD_CPUCL2], 1000\n")
    phone.program("bin/sleep", f"#!/bin/sh\nexec {phone.folder}{PROGRAM} $1\n")
    energy = ask_there(benchmark=HOW, wants=["energy"], pin=False)[0]["energy"]
    assert energy["value"] == pytest.approx(40e-6, rel=0.02)
    assert energy["low"] <= energy["value"] <= energy["high"]
    assert energy["rails"] == ["S2M_VDD_CPUCL2"]


def test_rails_that_can_t_be_read_are_no_figure(ask_there: Ask) -> None:
    note = ask_there(benchmark=HOW, wants=["energy"], pin=False)[0]["energy"]["note"]
    assert note.startswith("the phone's power rails can't be read: cat: ")


def test_the_fingerprint_is_that_of_the_phone(place: AdbBenchmark, phone: Phone) -> None:
    found = place.fingerprint()
    assert (found["model"], found["build"]) == ("Folder", "folder/folder:14/TEST")
    assert found["clock"] == "1700000 2910000"
    assert {"machine", "cores", "memory", "system"} <= set(found)
    versions = place.versions(["ai-edge-litert"])
    phone.program(PROGRAM[1:], "#!/bin/sh\n")
    assert set(versions) == set(place.versions([])) == {"benchmark_model"}
    assert versions != place.versions([])


def test_a_program_that_is_not_there_or_does_not_run(ask_there: Ask, place: AdbBenchmark, phone: Phone) -> None:
    (phone.folder / PROGRAM[1:]).chmod(0o644)
    with pytest.raises(
        BackendUnavailable, match=rf"has no program {PROGRAM}: copy .*'adb push benchmark_model {PROGRAM}"
    ):
        place.fingerprint()
    with pytest.raises(BackendUnavailable, match=r"can't be run: .*[Pp]ermission denied"):
        ask_there(**WANTED)
    phone.program(PROGRAM[1:], "#!/bin/sh\necho ERROR: Failed to load the model; exit 1\n")
    with pytest.raises(
        ArtifactFailed, match=r"benchmark_model on adb://\S+ failed on the artifact: ERROR: Failed to load"
    ):
        ask_there(**WANTED)
    phone.program(PROGRAM[1:], "#!/bin/sh\necho well done\n")
    with pytest.raises(DeviceError, match=r"prints no times that can be read"):
        ask_there(**WANTED)
    phone.program(PROGRAM[1:], "#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(DeviceError, match=r"did not end within 3 s: artifact"):
        ask_there(**WANTED, timeout=3.0)


def test_a_file_that_the_runtime_refuses_is_refused_before_it_travels(ask_there: Ask) -> None:
    with pytest.raises(ArtifactFailed, match=r"ValueError: not a model"):
        ask_there(**WANTED, options={"trouble": "load"})


def test_the_cable_is_pulled(ask_there: Ask, phone: Phone) -> None:
    phone.program(PROGRAM[1:], "#!/bin/sh\ntouch $(dirname $0)/runs; exec sleep 60\n")

    def pull() -> None:
        while not (phone.folder / "data/local/tmp/runs").exists():
            time.sleep(0.02)
        phone.cut()

    puller = threading.Thread(target=pull)
    puller.start()
    begun = time.monotonic()
    with pytest.raises(DeviceError, match=r"adb://\S+: (the connection ended|the phone is offline|no such phone)"):
        ask_there(**WANTED)
    puller.join()
    assert time.monotonic() - begun < 30
