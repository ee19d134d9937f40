"""Uploaded archives: what is hostile, too large or not what it says leaves nothing behind."""

from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path

import pytest
from serving import PARTS, TARGET, packed

from autoshrink.core import SpecError
from autoshrink.service.server.uploads import Uploads

HARDWARE = "name: mine\nkind: cpu\nbackend: onnxruntime\n"


def with_target(old: str, new: str, **more: str) -> bytes:
    assert old in TARGET
    extra = {name.replace("__", "/").replace("_yaml", ".yaml"): text.encode() for name, text in more.items()}
    return packed({**PARTS, **extra, "target.yaml": TARGET.replace(old, new).encode()})


def linked() -> bytes:
    content = io.BytesIO(packed(PARTS))
    with zipfile.ZipFile(content, "a") as archive:
        member = zipfile.ZipInfo("more.yaml")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(member, "/etc/passwd")
    return content.getvalue()


def bomb() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in {**PARTS, "net.onnx": bytes(10_000_000)}.items():
            archive.writestr(name, part)
    assert len(content.getvalue()) < 20_000
    return content.getvalue()


REFUSED: dict[str, tuple[bytes, str]] = {
    "no archive": (b"no archive", "damaged"),
    "empty": (packed({}), "exactly one target.yaml"),
    "torn": (packed(PARTS)[:-30], "damaged"),
    "code": (packed({**PARTS, "model.py": b"import os"}), "'model.py': only"),
    "pickled weights": (packed({**PARTS, "weights.pt": b"x"}), "'weights.pt': only"),
    "no target": (packed({"net.onnx": b""}), "exactly one target.yaml"),
    "target in a folder": (packed({f"mine/{name}": part for name, part in PARTS.items()}), "at its top"),
    "two targets": (packed({**PARTS, "more/target.yaml": b""}), "exactly one"),
    "leads out": (packed({**PARTS, "../../out.yaml": b"x"}), "no name of a file inside a folder"),
    "from the root": (packed({**PARTS, "/tmp/out.yaml": b"x"}), "no name of a file inside a folder"),
    "a link": (linked(), "which is a link"),
    "a bomb": (bomb(), "when it is unpacked"),
    "model is code": (with_target("net.onnx", "model.py:build"), "target.yaml:1: model"),
    "data is code": (with_target("digits.npz", "data.py:splits"), "target.yaml:2: data"),
    "metric is code": (with_target("accuracy:", "metric: m.py:f\naccuracy:"), "target.yaml:3: metric"),
    "model of the hub": (with_target("net.onnx", "hf:somebody/something"), "brings a .onnx file"),
    "weights of others": (
        with_target("data:", "weights: ../../j0/weights.safetensors\ndata:"), "leads out of the archive",
    ),
    "model of others": (with_target("net.onnx", "/srv/secret.onnx"), "leads out of the archive"),
    "data is not there": (with_target("digits.npz", "other.npz"), "no file 'other.npz' in the archive"),
    "hardware of others": (with_target("hardware: cpu", "hardware: ../../../etc/secret.yaml"), "leads out"),
    "hardware not there": (with_target("hardware: cpu", "hardware: ./secret.yaml"), "no file './secret.yaml'"),
    "space of others": (with_target("space: small", "space: /etc/secret.yaml"), "secret.yaml' leads out"),
    "another machine": (
        with_target("hardware: cpu", "hardware: mine.yaml", mine_yaml=HARDWARE + "device: ssh://root@host\n"),
        "measured on local or emulated",
    ),
    "no such backend": (
        with_target("hardware: cpu", "hardware: mine.yaml", mine_yaml=HARDWARE.replace("onnxruntime", "onyx")),
        "no backend 'onyx'",
    ),
    "too many workers": (with_target("candidates: 3", "workers: 4096"), "target.yaml:6: search.workers: 4096"),
    "an unknown key": (with_target("accuracy:", "acuracy:"), "did you mean 'accuracy'"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_leaves_nothing_behind(case: str, tmp_path: Path) -> None:
    content, said = REFUSED[case]
    uploads = Uploads(tmp_path / "uploads", 1_000_000)
    with pytest.raises(SpecError) as caught:
        uploads.unpack(io.BytesIO(content), "j1")
    assert said in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert list(tmp_path.iterdir()) == [tmp_path / "uploads"]
    assert not list((tmp_path / "uploads").iterdir())


def test_what_is_right_is_unpacked_and_its_target_reads(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path / "uploads", 1_000_000)
    content = with_target("hardware: cpu", "hardware: own/mine.yaml", own__mine_yaml=HARDWARE)
    target, place = uploads.unpack(io.BytesIO(content), "j1")
    assert sorted(path.name for path in place.iterdir()) == ["digits.npz", "net.onnx", "own", "target.yaml"]
    assert (target.hardware.name, target.name) == ("mine", "j1")
    assert target.path("net.onnx").read_bytes() == b"no model"
    uploads.unpack(io.BytesIO(packed(PARTS)), "j2")
    uploads.clear({"j2"})
    assert [path.name for path in (tmp_path / "uploads").iterdir()] == ["j2"]
