"""A phone over ADB: the real client and server, and at the other end a folder of this machine (`adb_phone`)."""

from __future__ import annotations

import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adb_phone import Phone
from device_requests import Ask, asking, assert_ended
from test_devices_local import FAILURES

from autoshrink.core import AutoshrinkError, BackendUnavailable, DeviceError
from autoshrink.devices import phone as phone_module
from autoshrink.devices.adb import Adb
from autoshrink.devices.local import Local
from autoshrink.devices.several import Several

TERMUX = "/data/data/com.termux/files/usr/bin/python3"


@pytest.fixture
def place(adb_phone: Phone) -> Adb:
    return Adb(f"adb://{adb_phone.serial}{sys.executable}")


@pytest.fixture
def ask_there(place: Adb, files: dict[str, Path]) -> Ask:
    return asking(place, files)


def test_the_answers_are_those_of_this_machine(ask_there: Ask, ask: Ask, adb_phone: Phone) -> None:
    wanted: dict[str, Any] = {"wants": ["memory", "latency", "energy"], "predict": ["test"], "example": "one"}
    wanted |= {"reference": ["reference", "weights.npz"]}
    there, outputs = ask_there(**wanted)
    here, expected = ask(**wanted)
    np.testing.assert_array_equal(outputs["test"], expected["test"])
    assert there["inputs"] == here["inputs"]
    assert there["versions"] == here["versions"]
    assert there["latency"]["artifact"]["low"] <= there["latency"]["artifact"]["value"]
    condition = {"thermal": "none", "level": 85, "temperature": 31.2, "plugged": "USB"}
    assert there["phone"] == {"before": condition, "after": condition}
    kept = adb_phone.folder / "data/local/tmp/autoshrink"
    assert {path.name.partition("-")[0] for path in kept.iterdir()} == {"files", "harness"}  # the run's own are gone
    files = {path.name: path.stat().st_ino for path in (kept / "files").iterdir()}
    ask_there(**wanted)
    assert {path.name: path.stat().st_ino for path in (kept / "files").iterdir()} == files  # a file travels once


@pytest.mark.parametrize(("changes", "error", "message"), FAILURES[::2])
def test_each_failure_says_whose_it_is(
    ask_there: Ask,
    place: Adb,
    files: dict[str, Path],
    changes: dict[str, Any],
    error: type[AutoshrinkError],
    message: str,
) -> None:
    files["two"] = files["one"].with_name("two.npz")
    np.savez(files["two"], x=np.ones((1, 32)), y=np.ones((1, 32)))
    with pytest.raises(error) as raised:
        ask_there(**changes)
    assert message.replace("this machine", place.address) in str(raised.value)


def test_a_runtime_that_is_missing_there(ask_there: Ask, tmp_path: Path) -> None:
    (tmp_path / "adapter.py").write_text("import a_runtime_that_is_absent")
    with pytest.raises(BackendUnavailable, match=r"Python on the phone 127\.0\.0\.1:\d+ can't import the adapter"):
        ask_there(adapter=tmp_path / "adapter.py")


def test_the_cable_is_pulled(adb_phone: Phone, ask_there: Ask, tmp_path: Path) -> None:
    children = tmp_path / "children"

    def pull() -> None:
        while not children.exists() or not children.read_text().split():
            time.sleep(0.02)
        adb_phone.stop()

    puller = threading.Thread(target=pull)
    puller.start()
    begun = time.monotonic()
    with pytest.raises(DeviceError, match=r"adb://\S+: the phone is offline|no such phone is connected"):
        ask_there(timeout=60.0, options={"trouble": "hang", "children": str(children)})
    puller.join()
    assert time.monotonic() - begun < 45
    assert_ended(children)  # what ran there is, when the connection is
    adb_phone.start()
    assert ask_there()[0]["inputs"]  # and the next time it works again


def test_the_fingerprint_is_that_of_the_phone(place: Adb) -> None:
    found = place.fingerprint()
    assert found == Local().fingerprint() | {"model": found["model"]}
    assert found["model"] == "Folder" or Path("/proc/device-tree/model").exists()
    assert place.versions(["numpy", "nowhere"]) == {"numpy": np.__version__}


def test_an_app_s_python_is_run_as_the_app(adb_phone: Phone, files: dict[str, Path]) -> None:
    adb_phone.program(TERMUX[1:], f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    place = Adb(f"adb://{adb_phone.serial}{TERMUX}")
    assert asking(place, files)()[0]["inputs"]
    assert (adb_phone.folder / "data/data/com.termux/cache/autoshrink/files").is_dir()
    adb_phone.program("bin/run-as", "#!/bin/sh\necho run-as: package not debuggable: $1 >&2; exit 1\n")
    with pytest.raises(DeviceError, match=r"not debuggable: com\.termux; it needs Python.*options: \{benchmark: /"):
        place.fingerprint()


def silent() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("serial", r"adb://1A2B3C: no such phone is connected \('adb devices' lists those that are\); USB debugging"),
        ("address", r"no such phone is connected \('adb connect 127\.0\.0\.1:1' says why\)"),
        ("unauthorized", r"does not let this computer in: unlock it and allow USB debugging"),
        ("offline", r"the phone is offline: plug it in again"),
        ("python", r"not found; it needs Python, its path stands at the end of the address; without Python"),
        ("client", r"there is no adb here: install it with 'apt-get install adb'"),
        ("words", r"adb://: write adb://SERIAL"),
    ],
)
def test_a_phone_that_can_t_be_reached(
    place: Adb, adb_phone: Phone, monkeypatch: pytest.MonkeyPatch, change: str, message: str
) -> None:
    address = {
        "serial": "adb://1A2B3C",
        "address": "adb://127.0.0.1:1",
        "python": f"adb://{adb_phone.serial}/no/python",
        "words": "adb://",
    }.get(change, place.address)
    with silent() as listener:
        if change == "unauthorized":
            adb_phone.manner = "unauthorized"
        elif change == "client":
            monkeypatch.setenv("PATH", str(adb_phone.folder))
        elif change == "offline":  # connected, and no word from it
            address = f"adb://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(DeviceError, match=message):
            Adb(address).fingerprint()


def test_a_phone_that_is_too_hot_is_waited_for(
    ask_there: Ask, adb_phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phone_module, "_LOOK", 0.05)
    (adb_phone.folder / "heat").write_text("3")
    cooler = threading.Timer(0.5, lambda: (adb_phone.folder / "heat").write_text("1"))
    cooler.start()
    assert ask_there()[0]["phone"]["before"]["thermal"] == "light"
    cooler.join()
    (adb_phone.folder / "heat").write_text("4")
    monkeypatch.setattr(phone_module, "_COOLING", 0.2)
    with pytest.raises(DeviceError, match=r"still too hot after 0 s \(its thermal state is critical\): let it cool"):
        ask_there()


def test_several_of_one_kind_work_side_by_side(place: Adb, files: dict[str, Path]) -> None:
    gone = Adb("adb://1A2B3C")
    assert asking(Several([gone, place]), files)()[0]["inputs"]
    with pytest.raises(DeviceError, match=r"none of the devices answers: .*no such phone"):
        asking(Several([gone, gone]), files)()
