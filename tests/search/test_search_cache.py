"""What searches of a model share: it is there, it is whole, and it may be lost without harm."""

from __future__ import annotations

import os
from pathlib import Path

from autoshrink.search.cache import Cache


def test_what_is_kept_is_found_again_by_its_model_only(tmp_path: Path) -> None:
    Cache(tmp_path, "one").keep("weights", "a-0-1", b"abc")
    assert Cache(tmp_path, "one").read("weights", "a-0-1") == b"abc"
    assert Cache(tmp_path, "one").read("costs", "a-0-1") is None
    assert Cache(tmp_path, "two").read("weights", "a-0-1") is None


def test_the_latest_come_first_and_torn_files_never(tmp_path: Path) -> None:
    cache = Cache(tmp_path, "m")
    for age, key in enumerate(("new", "older", "oldest")):
        cache.keep("results", key, b"x")
        os.utime(cache.folder / "results" / key, (1000 - age, 1000 - age))
    (cache.folder / "results" / ".partial-x").write_bytes(b"half")
    assert list(cache.keys("results")) == ["new", "older", "oldest"]
    assert list(cache.keys("nothing")) == []


def test_a_damaged_entry_is_none(tmp_path: Path) -> None:
    cache = Cache(tmp_path, "m")
    cache.keep("weights", "a", b"abc")
    file = cache.folder / "weights" / "a"
    whole = file.read_bytes()
    for damaged in (b"", whole[:-1], whole[:-1] + b"d", whole + b"e"):
        file.write_bytes(damaged)
        assert cache.read("weights", "a") is None
    file.write_bytes(whole)
    assert cache.read("weights", "a") == b"abc"


def test_what_was_used_least_recently_goes_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path, "m")
    for age, key in enumerate("abc"):
        cache.keep("weights", key, b"x" * 100)
        os.utime(cache.folder / "weights" / key, (1000 + age, 1000 + age))
    cache.read("weights", "a")
    cache.trim(250)
    assert {key for key in "abc" if cache.read("weights", key)} == {"a", "c"}


def test_a_place_that_can_t_be_written_costs_nothing_but_the_entry(tmp_path: Path) -> None:
    cache = Cache(tmp_path, "m")
    cache.folder.parent.mkdir()
    cache.folder.write_text("a file where the folder should be")
    cache.keep("weights", "a", b"x")
    assert cache.read("weights", "a") is None
    cache.trim()
