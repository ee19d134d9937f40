"""A disk that is full in the middle of a search: a small one, in memory, which is then made larger."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from commands import autoshrink

from autoshrink.core import DeviceError, Target
from autoshrink.search.store import Store


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "none", folder], check=False).returncode
    ):
        pytest.skip("only root may mount the small disk that is filled here")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_ends_a_search_with_one_line_and_costs_nothing_that_was_finished(
    project: Path, small_disk: Path
) -> None:
    words = ("search", "target.yaml", "--name", "one", "--candidates", "3", "--store", str(small_disk))
    said = autoshrink(*words, cwd=project, code=4)
    [line] = [line for line in said.stderr.splitlines() if line.startswith("error: ")]
    assert "the disk is full" in line
    assert "autoshrink search --resume one" in line
    assert "Traceback" not in said.stdout + said.stderr
    records = (small_disk / "one" / "candidates.jsonl").read_bytes().splitlines(keepends=True)
    before = [json.loads(record) for record in records if record.endswith(b"\n")]
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    autoshrink("search", "--resume", "one", "--store", str(small_disk), "--json", "out.json", cwd=project)
    document = json.loads((project / "out.json").read_text())
    after = {item["id"]: item["recipe"] for item in document["candidates"]}
    assert sorted(after) == list(range(4))
    assert all(after[record["id"]]["steps"] == record["recipe"]["steps"] for record in before)
    assert document["front"]


def test_a_disk_that_is_full_before_a_search_begins_leaves_no_half_of_it(project: Path, small_disk: Path) -> None:
    target = Target.read(project / "target.yaml")
    filler = small_disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    with pytest.raises(DeviceError, match=r"the disk is full .*: make room, and search again"):
        Store.create(small_disk, target, "one")
    assert list(small_disk.iterdir()) == [filler]
    filler.unlink()
    assert Store.create(small_disk, target, "one").target().name == target.name
