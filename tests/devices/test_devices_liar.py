"""A device that is not what it seems: whatever it answers is a device's error, and nothing of it leaves its folder."""

from __future__ import annotations

import io
import json
import stat
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from autoshrink.core import DeviceError
from autoshrink.devices.harness.arrays import invent
from autoshrink.devices.parcel import harness, unpack
from autoshrink.devices.remote import Remote

LIAR = """
import sys, json
size, answers = int(sys.argv[1]), json.loads(sys.argv[2])
sys.stdin.buffer.read(size)
for answer in answers:
    while not json.loads(sys.stdin.buffer.readline()).get("do") in ("have", "run", "facts"):
        pass
    sys.stdout.buffer.write(answer.encode("latin-1"))
    sys.stdout.buffer.flush()
sys.stdin.buffer.read()
"""


class Liar(Remote):
    """Answers with what it was told to."""

    address = "ssh://liar"

    def __init__(self, *answers: str) -> None:
        self._answers = answers

    def _command(self) -> list[str]:
        return [sys.executable, "-c", LIAR, str(len(harness()[0])), json.dumps(self._answers)]

    def _lost(self, code: int | None, said: list[str]) -> str:
        return "the connection ended"

    @property
    def _host(self) -> str:
        return "liar"


def archive(*members: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members:
            made.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    (tmp_path / "adapter.py").write_text("def load(path, options): ...")
    return tmp_path / "adapter.py"


ENDED = '{"code": 0, "stage": "", "log": ""'
FINE = '{"missing": []}\n'


@pytest.mark.parametrize(
    "answers",
    [
        ["nonsense\n"],
        ["[]\n"],
        ["3\n"],
        ["{}\n"],
        ['{"missing": 3}\n'],
        ['{"missing": [{}]}\n'],
        ['{"missing": ["../../etc/passwd"]}\n'],
        ["[" * 100_000 + "\n"],
        [FINE, "{}\n"],
        [FINE, ENDED + ', "size": -1}\n'],
        [FINE, ENDED + f', "size": {2**60}}}\n'],
        [FINE, ENDED + ', "size": "x"}\n'],
        [FINE, '{"code": "x", "stage": "", "log": "", "size": 0}\n'],
        [FINE, '{"code": -999, "stage": "", "log": "", "size": 0}\n'],
        [FINE, '{"code": -40, "stage": "device: x", "log": "", "size": 0}\n'],
        [FINE, '{"code": 1, "stage": {}, "log": 3, "size": 0}\n'],
        [FINE, '{"code": 1, "size": 0}\n'],
        [FINE, ENDED + ', "size": 4}\nnope'],
        [FINE, ENDED + f', "size": {len(archive(("../x", b"1")))}}}\n{archive(("../x", b"1")).decode("latin-1")}'],
    ],
)
def test_nonsense_is_a_device_error(adapter: Path, answers: list[str]) -> None:
    with pytest.raises(DeviceError):
        Liar(*answers).run(adapter, {"threads": 1}, {}, 5.0)


@pytest.mark.parametrize("answers", [[], ['{"missing":'], [FINE], [FINE, ENDED + ', "size": 400}\nx']])
def test_silence_is_a_device_error(adapter: Path, answers: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Liar, "patience", 0.5)
    with pytest.raises(DeviceError, match="the connection ended"):
        Liar(*answers).run(adapter, {"threads": 1}, {}, 0.5)


@pytest.mark.parametrize("answer", ["{}\n", "[]\n", '{"facts": 3}\n', '{"facts": ["a"]}\n'])
def test_facts_that_are_none_are_a_device_error(answer: str) -> None:
    with pytest.raises(DeviceError):
        Liar(answer).fingerprint()


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no archive",
        archive(("../escaped", b"1")),
        archive(("/tmp/escaped", b"1")),
        archive(("in/escaped", b"1")),
        archive((link("answer.json"), b"/etc/passwd")),
        archive(("answer.json", b"{}"))[:-9],
    ],
)
def test_what_comes_back_stays_in_its_folder(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(inner))
    with pytest.raises(DeviceError, match="what the device sent back"):
        unpack(content, "autoshrink-test-")
    assert [path.name for path in tmp_path.rglob("*")] == ["inner"]


def test_what_a_harness_writes_comes_back(tmp_path: Path) -> None:
    array = io.BytesIO()
    np.save(array, np.ones(3))
    folder = unpack(archive(("answer.json", b"{}"), ("test.npy", array.getvalue())), "autoshrink-test-")
    assert sorted(path.name for path in folder.iterdir()) == ["answer.json", "test.npy"]


@pytest.mark.parametrize("shape", [[1, 2**40], [2**31, 2**31, 2**31], [None, 2**45]])
def test_no_example_is_invented_that_is_larger_than_the_memory(shape: list[int | None]) -> None:
    with pytest.raises(ValueError, match="larger than this machine's memory"):
        invent([{"name": "x", "dtype": "float32", "shape": shape}])
