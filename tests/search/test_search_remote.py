"""Artifacts at an address: written whole, read as they were written, and found from a machine that has them not."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from autoshrink.core import AutoshrinkError, BackendUnavailable, Candidate, Recipe, SpecError, Target
from autoshrink.core.measurement import Artifact
from autoshrink.search import remote
from autoshrink.search.places import Places, StorageGone, bare
from autoshrink.search.remote import Remote
from autoshrink.search.store import Store

FILES = {"model.onnx": b"abc" * 1000, "weights.bin": b"\0"}
KEY = hashlib.sha256(b"".join(FILES.values())).hexdigest()[:16]
ARTIFACT = Artifact(key=KEY, backend="onnxruntime", files=tuple(FILES), size=3001)
CANDIDATE = Candidate(id=1, recipe=Recipe(steps=()), outcome="measured", artifact=ARTIFACT)
TARGET = """\
model: model.py:build
data: data.py:splits
accuracy: {max_drop: 0.01}
hardware: cpu
search: {space: small, candidates: 3}
"""


FTP = """\
import sys
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer

class Handler(FTPHandler):
    authorizer = DummyAuthorizer()
    auth_failed_timeout = 0
Handler.authorizer.add_user("me", "hush", sys.argv[1], perm="elradfmwMT")
server = FTPServer(("127.0.0.1", int(sys.argv[2])), Handler)
print(server.socket.getsockname()[1], flush=True)
server.serve_forever()
"""


@contextmanager
def serving(folder: Path, port: str = "0") -> Iterator[str]:
    """A server of FTP's, in a process of its own; its address."""
    command = [sys.executable, "-W", "ignore", "-c", FTP, str(folder), port]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        try:
            yield f"ftp://me:hush@127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.kill()


@pytest.fixture
def target(tmp_path: Path) -> Target:
    (tmp_path / "mine.yaml").write_text(TARGET)
    return Target.read(tmp_path / "mine.yaml")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_PAUSES", (0.01,))


def test_an_artifact_is_kept_once_and_read_as_it_was_written(tmp_path: Path) -> None:
    place = Remote(f"file://{tmp_path}/kept")
    assert place.read(KEY) is None
    assert place.keys() == set()
    threads = [threading.Thread(target=place.keep, args=(KEY, FILES)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Remote(str(tmp_path / "kept")).read(KEY) == FILES
    assert place.keys() == {KEY}
    assert {path.name for path in (tmp_path / "kept" / KEY).iterdir()} == {*FILES, "artifact.json"}


def test_what_is_not_whole_is_not_there_and_what_is_damaged_is_named(tmp_path: Path) -> None:
    place = Remote(str(tmp_path))
    place.keep(KEY, FILES)
    (tmp_path / KEY / "model.onnx").write_bytes(b"other")
    with pytest.raises(AutoshrinkError, match=rf"{KEY}/model\.onnx: damaged"):
        place.read(KEY)
    (tmp_path / KEY / "artifact.json").write_text("[]")
    with pytest.raises(AutoshrinkError, match=r"artifact\.json: damaged"):
        place.read(KEY)
    (tmp_path / KEY / "artifact.json").unlink()
    assert place.read(KEY) is None
    place.keep(KEY, FILES)
    assert place.read(KEY) == FILES


def test_a_store_finds_its_artifacts_there(tmp_path: Path, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUTOSHRINK_ARTIFACTS", raising=False)
    store = Store.create(tmp_path / "s", target)
    store.keep_artifact("k0", FILES)  # before there was an address
    store.settle(Places.given(str(tmp_path / "kept")))
    store.keep_artifact(KEY, FILES)
    assert Remote(str(tmp_path / "kept")).keys() == {"k0", KEY}
    shutil.rmtree(store.artifacts)
    other = Store.create(tmp_path / "s", target)
    assert other.find_artifact(ARTIFACT) == FILES, "from the address of the search beside it"
    again = Store.open(tmp_path / "s", store.name)
    assert again.find_artifact(ARTIFACT) == FILES
    folder = again.artifact_folder(CANDIDATE)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    assert folder == store.artifacts / KEY


def test_a_place_that_does_not_answer_ends_the_search(tmp_path: Path, target: Target, quick: None) -> None:
    (tmp_path / "kept").write_text("no folder")
    store = Store.create(tmp_path / "s", target)
    store.settle(Places.given(str(tmp_path / "kept")))
    with pytest.raises(StorageGone, match="can't be used") as gone:
        store.keep_artifact(KEY, FILES)
    assert gone.value.exit_code == 4
    assert (store.artifacts / KEY / "model.onnx").read_bytes() == FILES["model.onnx"], "what was made is here"


def test_a_server_that_asks_for_a_password(tmp_path: Path, quick: None) -> None:
    with serving(tmp_path) as address:
        place = Remote(f"{address}/kept")
        place.keep(KEY, FILES)
        place.keep(KEY, FILES)
        assert (place.read(KEY), place.read("k2"), place.keys()) == (FILES, None, {KEY})
        with pytest.raises(StorageGone, match=r"ftp://me@127.*530 Authentication failed") as refused:
            Remote(f"{address.replace('hush', 'guess')}/kept")
        assert "guess" not in str(refused.value)
    with pytest.raises(StorageGone, match=r"ftp://me@127\S+/kept: can't be used: \S"):
        place.read(KEY)
    with serving(tmp_path, address.rpartition(":")[2]):
        assert place.read(KEY) == FILES, "it is connected to again"


@pytest.mark.parametrize(
    ("address", "error", "said"),
    [
        ("nosuch://x/y", SpecError, "nosuch"),
        ("memory://x", SpecError, "can't be kept there"),
        ("zip::file:///x.zip", SpecError, "can't be kept there"),
        ("gs://me:hush@bucket/x", BackendUnavailable, "gcsfs"),
        ("s3://", SpecError, "no bucket"),
    ],
    ids=["unknown", "memory", "chained", "missing", "empty"],
)
def test_what_is_no_place_is_refused(address: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said) as refused:
        Remote(address)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    ("address", "known"),
    [
        ("s3://id:hush@bucket/p?region=eu&endpoint_override=http://127.0.0.1:9", "s3://bucket/p?region=eu&"
         "endpoint_override=http://127.0.0.1:9"),
        ("s3://bucket/p?secret_key=hush&access_key=id", "s3://bucket/p"),
        ("postgresql+psycopg://me:hush@host:5/db?password=hush&sslmode=require",
         "postgresql+psycopg://me@host:5/db?sslmode=require"),
        ("ftp://me:hu%40sh@host/p", "ftp://me@host/p"),
        ("/a/folder", "/a/folder"),
    ],
    ids=["user", "query", "study", "ftp", "folder"],
)  # fmt: skip
def test_secrets_are_not_written_down(address: str, known: str) -> None:
    assert bare(address) == known


def test_passwords_come_from_the_environment(tmp_path: Path, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.create(tmp_path / "s", target)
    about = json.loads((store.folder / "search.json").read_text())
    store.write_json("search.json", about | Places("s3://id:hush@bucket/p", "postgresql://me:hush@h/d", "x-1").bare())
    assert "hush" not in (store.folder / "search.json").read_text()
    monkeypatch.setenv("AUTOSHRINK_ARTIFACTS", "s3://id:hush@bucket/p")
    assert Store.open(tmp_path / "s").places().artifacts == "s3://id:hush@bucket/p"
    monkeypatch.setenv("AUTOSHRINK_ARTIFACTS", "s3://id:hush@another/p")
    assert Store.open(tmp_path / "s").places().artifacts == "s3://bucket/p"


def test_a_study_does_not_move(tmp_path: Path) -> None:
    kept = Places(study="postgresql://me@h/d", study_name="x-1")
    assert Places(study="postgresql://me:hush@h/d").over(kept, "x", begun=True).study_name == "x-1"
    for before in (kept, Places()):
        with pytest.raises(SpecError, match="resume it without --study"):
            Places(study="postgresql://me@other/d").over(before, "x", begun=True)
