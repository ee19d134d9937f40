"""Energy sensors: trees shaped as Linux shows them and a driver's library of our own stand for hardware not here."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

from autoshrink.devices.harness import nvml
from autoshrink.devices.harness.clocks import clocks
from autoshrink.devices.harness.energy import measure_energy
from autoshrink.devices.harness.meter import Counter, Gauge
from autoshrink.devices.harness.sensors import SENSORS, choose, sensors

IDLE, BUSY = 2.0, 12.0
"""W."""


class Machine:
    """A machine that takes more power while it works, and a sensor that shows it every so often."""

    def __init__(self, every: float) -> None:
        self.every = every
        self._worked = 0.0
        self._begun = time.perf_counter()

    def call(self) -> None:
        begun = time.perf_counter()
        while time.perf_counter() - begun < 0.001:
            pass
        self._worked += 0.001

    def joules(self) -> float:
        return IDLE * (time.perf_counter() - self._begun) + (BUSY - IDLE) * self._worked

    def counter(self) -> Counter:
        shown = [0.0, 0.0]

        def read() -> float:
            if time.perf_counter() - shown[0] > self.every:
                shown[:] = time.perf_counter(), self.joules()
            return shown[1]

        return Counter("simulated", read)


@pytest.mark.parametrize("every", [0.001, 0.05])
def test_a_call_s_energy_is_found_less_what_idle_takes(every: float) -> None:
    machine = Machine(every)
    result = measure_energy(machine.call, machine.counter(), 0.2)
    assert result["low"] <= 0.01 <= result["high"]
    assert result["value"] == pytest.approx(0.01, rel=0.1)
    assert result["idle"] == pytest.approx(IDLE, rel=0.2)
    assert result["high"] - result["value"] >= result["resolution"] > 0
    assert result["sensor"] == "simulated"


def test_the_band_has_what_the_maker_states() -> None:
    machine = Machine(0.001)
    counter = machine.counter()
    counter.within = 0.2
    result = measure_energy(machine.call, counter, 0.1)
    assert result["low"] <= 0.81 * result["value"]
    assert result["high"] >= 1.19 * result["value"]


def test_what_a_sensor_can_t_tell_is_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoshrink.devices.harness.energy._LONGEST", 0.1)
    assert "shows no change" in measure_energy(lambda: None, Counter("still", lambda: 1.0), 0.05)["note"]
    begun = time.perf_counter()
    falling = Counter("others' work ends", lambda: 100 - 1 / (1 + time.perf_counter() - begun))
    assert "don't show" in measure_energy(lambda: time.sleep(0.001), falling, 0.02)["note"]
    steady = measure_energy(lambda: time.sleep(0.05), Counter("steady", lambda: time.perf_counter() // 0.05), 0.1)
    assert "note" in steady


def test_a_gauge_is_added_up() -> None:
    before_it = threading.active_count()
    with Gauge("gauge", lambda: 3.0) as gauge:
        begun, before = time.perf_counter(), gauge.joules()
        time.sleep(0.2)
        spent, seconds = gauge.joules() - before, time.perf_counter() - begun
    assert spent == pytest.approx(3.0 * seconds, rel=0.05)
    assert threading.active_count() == before_it


def write(root: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{content}\n")
    return root


def zone(name: str, number: str, joules: int, full: int = 262_143_328_850) -> dict[str, object]:
    folder = f"class/powercap/intel-rapl:{number}"
    return {f"{folder}/name": name, f"{folder}/energy_uj": joules, f"{folder}/max_energy_range_uj": full}


def test_rapl_adds_processors_and_their_memory_and_nothing_twice(tmp_path: Path) -> None:
    full = 9_999
    zones = zone("package-0", "0", 9_990, full) | zone("core", "0:0", 7) | zone("dram", "0:1", 100)
    write(tmp_path, zones | zone("package-1", "1", 0) | zone("psys", "2", 5))
    meter, _ = choose(["rapl"], tmp_path)
    assert meter is not None
    assert meter.name == "rapl: package-0 + dram + package-1"
    assert meter.joules() == 0
    write(tmp_path, zone("package-0", "0", 10, full) | zone("core", "0:0", 99) | zone("dram", "0:1", 103))
    write(tmp_path, zone("psys", "2", 999))
    assert meter.joules() == pytest.approx((20 + 3) * 1e-6)  # the counter began again after 9,999


def test_a_sensor_that_can_t_be_read_says_so(tmp_path: Path) -> None:
    write(tmp_path, zone("package-0", "0", 5) | {"class/powercap/intel-rapl:0/energy_uj": "many"})
    meter, trouble = choose(["rapl", "odpm"], tmp_path)
    assert meter is None
    assert "rapl can't be read: invalid literal" in trouble
    (tmp_path / "class/powercap/intel-rapl:0/energy_uj").unlink()
    assert "No such file" in sensors(tmp_path)[1][0]


RAILS = """\
t=358400
CH0(T=358400)[S10M_VDD_TPU], {0}
CH3(T=358400)[S2M_VDD_CPUCL2], {1}
CH4(T=358400)[S1M_VDD_MIF], {2}
CH5(T=358400)[VSYS_PWR_DISPLAY], {0}
"""
"""As a Pixel shows its power rails, those of the processor among others."""


def test_a_phone_tells_its_energy_by_the_rails_of_its_processor(tmp_path: Path) -> None:
    file = "bus/iio/devices/iio:device1/energy_value"
    spent = [761_330, 761_330, 29_110]

    def call() -> None:
        spent[:] = [spent[0] + 1000, spent[1] + 40, spent[2] + 2]
        write(tmp_path, {file: RAILS.format(*spent)})
        time.sleep(0.001)

    call()
    meter, _ = choose(["rapl", "odpm"], tmp_path)
    assert meter is not None
    assert meter.name == "odpm: S1M_VDD_MIF + S2M_VDD_CPUCL2"
    assert measure_energy(call, meter, 0.1)["value"] == pytest.approx(42e-6, rel=1e-3)
    write(tmp_path, {file: "CH0(T=358400)[VSYS_PWR_DISPLAY], 5"})
    assert "no rail of the processor" in choose(["odpm"], tmp_path)[1]


@pytest.mark.parametrize(
    "files", [{"power_now": 3_000_000}, {"current_now": -750_000, "voltage_now": 4_000_000}], ids=["power", "current"]
)
def test_a_battery_shows_what_flows_out_of_it_only(tmp_path: Path, files: dict[str, int]) -> None:
    folder = "class/power_supply/BAT0"
    write(tmp_path, {"class/power_supply/AC/type": "Mains", f"{folder}/type": "Battery"})
    write(tmp_path, {f"{folder}/status": "Discharging"} | {f"{folder}/{name}": value for name, value in files.items()})
    meter, _ = choose(["rapl", "odpm", "battery"], tmp_path)
    assert meter is not None
    assert (meter.name, meter.shown()) == ("battery: BAT0", pytest.approx(3.0))
    write(tmp_path, {f"{folder}/status": "Charging"})
    assert "BAT0 is charging: unplug the device" in choose(["battery"], tmp_path)[1]


def test_this_machine_s_list_is_true() -> None:
    names, troubles = sensors()
    assert len(names) + len(troubles) <= len(SENSORS)
    for kind in SENSORS:
        meter, trouble = choose([kind])
        if meter is None:
            assert trouble == "no energy sensor" or trouble in troubles
            continue
        assert meter.name in names
        with meter:
            before = meter.joules()
            Machine(0.001).call()
            time.sleep(0.5)
            assert meter.joules() > before, f"{meter.name} stands still"


def test_clocks_are_those_of_the_cores_that_are_asked_for(tmp_path: Path) -> None:
    cpu = "sys/devices/system/cpu/cpu{}/cpufreq/scaling_{}_freq"
    write(tmp_path, {cpu.format(1, "cur"): 1_500_000, cpu.format(1, "max"): 2_400_000, cpu.format(2, "cur"): 1})
    assert clocks([1], root=tmp_path) == {"cores": {"1": 1.5e9}, "limits": {"1": 2.4e9}}
    write(tmp_path, {"proc/cpuinfo": "processor\t: 0\ncpu MHz\t\t: 2596.142\n\nprocessor\t: 7\ncpu MHz\t\t: 800.0"})
    assert clocks([0, 7], root=tmp_path) == {"cores": {"0": 2596142000.0, "7": 800000000.0}}
    assert clocks([0], card="", root=tmp_path / "none").get("cores") is None


DRIVER = """\
#include <stdio.h>
#include <stdlib.h>
#define CARD long card
#define TELL(...) { snprintf(text, size, __VA_ARGS__); return 0; }
#define GIVE(what) { *value = what; return 0; }
static unsigned long long spent;
int nvmlInit_v2(void) { return getenv("NO_DRIVER") ? 9 : 0; }
const char *nvmlErrorString(int code) { return code == 9 ? "Driver Not Loaded" : "Not Supported"; }
int nvmlDeviceGetCount_v2(unsigned *value) GIVE(getenv("MIXED") ? 3 : 2)
int nvmlDeviceGetHandleByIndex_v2(unsigned card, void **value) GIVE((void *)(long)card)
int nvmlDeviceGetName(CARD, char *text, unsigned size) TELL("A %s card", card == 2 ? "small" : "large")
int nvmlDeviceGetUUID(CARD, char *text, unsigned size) TELL("GPU-%ld-abc", card)
int nvmlSystemGetDriverVersion(char *text, unsigned size) TELL("550.1")
int nvmlDeviceGetTotalEnergyConsumption(CARD, unsigned long long *value) {
    if (getenv("BEFORE_VOLTA")) return 3;
    GIVE(1000 * (spent += 1 + card)) }
int nvmlDeviceGetPowerUsage(CARD, unsigned *value) GIVE(250000 + card)
int nvmlDeviceGetMaxClockInfo(CARD, unsigned kind, unsigned *value) GIVE(kind == 1 ? 1980 : 2619)
int nvmlDeviceGetClockInfo(CARD, unsigned kind, unsigned *value) GIVE(kind == 1 ? 1755 : 2619)
int nvmlDeviceGetEnforcedPowerLimit(CARD, unsigned *value) GIVE(700000)
int nvmlDeviceGetTemperature(CARD, unsigned kind, unsigned *value) GIVE(41)
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None:
        pytest.skip("no compiler for the library that stands for a driver's: apt-get install gcc libc6-dev")
    folder = tmp_path_factory.mktemp("nvml")
    (folder / "nvml.c").write_text(DRIVER)
    subprocess.run(["gcc", "-shared", "-fPIC", "-w", "-o", folder / "nvml.so", folder / "nvml.c"], check=True)
    return folder / "nvml.so"


@pytest.fixture
def driver(library: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(nvml, "_LIBRARY", str(library))
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_cards_are_described_by_their_driver(driver: pytest.MonkeyPatch) -> None:
    assert nvml.describe() == {
        "gpu": "A large card, A large card",
        "driver": "550.1",
        "gpu_clock": "1980 MHz, 1980 MHz",
        "gpu_power": "700 W, 700 W",
    }
    assert clocks([], card="cuda:1") == {"gpu": 1.755e9, "gpu_memory": 2.619e9, "gpu_celsius": 41}
    driver.setenv("NO_DRIVER", "1")
    assert nvml.describe() == {}
    assert "Driver Not Loaded" in choose(["nvml"])[1]


@pytest.mark.parametrize(
    ("card", "environment", "step"),
    [
        ("", {}, 1),
        ("cuda", {}, 1),
        ("cuda:1", {}, 2),
        ("GPU-1", {}, 2),
        ("0", {"CUDA_VISIBLE_DEVICES": "1"}, 2),
        ("1", {"CUDA_VISIBLE_DEVICES": "1,0"}, 1),
        ("", {"CUDA_VISIBLE_DEVICES": "GPU-1-abc"}, 2),
        ("2", {"MIXED": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, 3),
        ("5", {}, "there is no card 5: the driver names 2"),
        ("1", {"CUDA_VISIBLE_DEVICES": "0"}, "no card 1 in CUDA_VISIBLE_DEVICES=0"),
        ("", {"CUDA_VISIBLE_DEVICES": ""}, "no card 0 in CUDA_VISIBLE_DEVICES="),
        ("GPU-9", {}, "there is no card GPU-9"),
        ("", {"CUDA_VISIBLE_DEVICES": "MIG-1"}, "a part of a card"),
        ("0", {"MIXED": "1"}, "set CUDA_DEVICE_ORDER=PCI_BUS_ID"),
    ],
)
def test_the_card_is_the_one_that_cuda_means(
    driver: pytest.MonkeyPatch, card: str, environment: dict[str, str], step: int | str
) -> None:
    for name, value in environment.items():
        driver.setenv(name, value)
    meter, trouble = choose(["nvml"], card=card)
    if isinstance(step, str):
        assert meter is None
        assert step in trouble
    else:
        assert meter is not None
        before = meter.joules()
        assert meter.joules() - before == step  # the library's own count grows by the card's number with every look


def test_a_card_without_a_counter_is_read_by_its_power(driver: pytest.MonkeyPatch) -> None:
    driver.setenv("BEFORE_VOLTA", "1")
    meter, _ = choose(["nvml"])
    assert isinstance(meter, Gauge)
    assert meter.shown() == 250
