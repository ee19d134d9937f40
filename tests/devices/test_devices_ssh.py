"""A machine over SSH, which here is this one behind a real server: the same answers, and every way to lose it."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from device_requests import Ask, asking, assert_ended
from ssh_server import Sshd
from test_devices_local import FAILURES

from autoshrink.core import AutoshrinkError, BackendUnavailable, DeviceError
from autoshrink.devices.local import Local
from autoshrink.devices.several import Several
from autoshrink.devices.ssh import Ssh


@pytest.fixture
def place(sshd: Sshd) -> Ssh:
    return Ssh(sshd.address)


@pytest.fixture
def ask_there(place: Ssh, files: dict[str, Path]) -> Ask:
    return asking(place, files)


def test_the_answers_are_those_of_this_machine(ask_there: Ask, ask: Ask) -> None:
    wanted: dict[str, Any] = {"wants": ["memory", "latency", "energy"], "predict": ["test"], "example": "one"}
    wanted |= {"reference": ["reference", "weights.npz"]}
    there, outputs = ask_there(**wanted)
    here, expected = ask(**wanted)
    np.testing.assert_array_equal(outputs["test"], expected["test"])
    assert there["inputs"] == here["inputs"]
    assert there["versions"] == here["versions"]
    assert there["memory"]["kept"] == pytest.approx(here["memory"]["kept"], abs=16_384)
    assert there["latency"]["artifact"]["low"] <= there["latency"]["artifact"]["value"]
    assert len(there["cores"]) == 1


def test_a_file_travels_once(ask_there: Ask, files: dict[str, Path]) -> None:
    kept = files["test"].parent / "cache" / "autoshrink" / "files"
    ask_there(predict=["test"])
    before = {path.name: path.stat().st_ino for path in kept.iterdir()}
    assert len(before) == 5  # two models, two sets of inputs, the adapter
    ask_there(predict=["test"])
    assert {path.name: path.stat().st_ino for path in kept.iterdir()} == before


@pytest.mark.parametrize(("changes", "error", "message"), FAILURES)
def test_each_failure_says_whose_it_is(
    ask_there: Ask,
    place: Ssh,
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
    with pytest.raises(BackendUnavailable, match=r"Python on 127\.0\.0\.1 can't import the adapter.*a_runtime_that"):
        ask_there(adapter=tmp_path / "adapter.py")


def test_what_hangs_is_ended(ask_there: Ask, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"did not end within 2 s: artifact: load and run it once"):
        ask_there(timeout=2.0, options={"trouble": "hang", "children": str(tmp_path / "children")})


def test_the_cable_is_pulled(sshd: Sshd, ask_there: Ask, tmp_path: Path) -> None:
    children = tmp_path / "children"

    def pull() -> None:
        while not children.exists() or not children.read_text().split():
            time.sleep(0.02)
        sshd.cut()

    puller = threading.Thread(target=pull)
    puller.start()
    begun = time.monotonic()
    with pytest.raises(DeviceError, match=r"ssh://\S+: "):
        ask_there(timeout=60.0, options={"trouble": "hang", "children": str(children)})
    puller.join()
    assert time.monotonic() - begun < 30
    assert_ended(children)  # what ran there is, when the connection is
    assert ask_there()[0]["inputs"]  # and the next time it works again


def test_the_fingerprint_is_that_of_the_machine_there(place: Ssh) -> None:
    assert place.fingerprint() == Local().fingerprint()
    assert place.versions(["numpy", "nowhere"]) == {"numpy": np.__version__}


def test_the_connection_is_kept_open(place: Ssh, sshd: Sshd) -> None:
    place.fingerprint()
    kept = sshd.connections()
    place.fingerprint()
    assert [process.pid for process in sshd.connections()] == [process.pid for process in kept]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("address", r"Connection refused"),
        ("python", r"needs Python, or the path to it"),
        ("host key", r"Host key verification failed.*connect once by hand.*ssh \S+@127"),
        ("user key", r"Permission denied.*ssh-copy-id"),
        ("client", r"there is no ssh here: install OpenSSH's client"),
        ("words", r"write ssh://user@host"),
    ],
)
def test_a_machine_that_can_t_be_reached(
    place: Ssh, sshd: Sshd, ssh_keys: Path, monkeypatch: pytest.MonkeyPatch, change: str, message: str
) -> None:
    address = place.address
    config = sshd.folder / "config"
    if change == "address":
        address = "ssh://me@127.0.0.1:1"
    elif change == "python":
        address = address.replace(Path(address).name, "no-python")
    elif change == "host key":
        (sshd.folder / "known").write_text((ssh_keys / "stranger.pub").read_text())
    elif change == "user key":
        config.write_text(config.read_text().replace(f"{ssh_keys}/user", f"{ssh_keys}/stranger"))
    elif change == "client":
        monkeypatch.setenv("PATH", str(sshd.folder))
    else:
        address = "ssh://"
    with pytest.raises(DeviceError, match=message):
        Ssh(address).fingerprint()


def test_several_of_one_kind_work_side_by_side(place: Ssh, files: dict[str, Path]) -> None:
    gone = Ssh("ssh://me@127.0.0.1:1")
    both = Several([gone, place])
    assert asking(both, files)()[0]["inputs"]
    with pytest.raises(DeviceError, match=r"none of the devices answers: .*refused"):
        asking(Several([gone, gone]), files)()
    with pytest.raises(DeviceError, match=r"127\.0\.0\.1:1"):
        both.fingerprint()
    assert Several([place, place]).fingerprint() == place.fingerprint()
