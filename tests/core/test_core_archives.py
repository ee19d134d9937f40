"""Zip archives of others: nothing leaves the folder, no link is made, and no bomb goes off."""

from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path

import pytest

from autoshrink.core.archives import BadArchiveError, unpack


def packed(*members: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def test_files_come_out_as_they_went_in(tmp_path: Path) -> None:
    content = packed(("a.txt", b"one"), ("in/b.txt", b"two"))
    written = unpack(io.BytesIO(content), tmp_path, 100)
    assert [path.relative_to(tmp_path).as_posix() for path in written] == ["a.txt", "in/b.txt"]
    assert (tmp_path / "in" / "b.txt").read_bytes() == b"two"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("../a.txt", "no name of a file inside"),
        ("in/../../a.txt", "no name of a file inside"),
        ("/tmp/a.txt", "no name of a file inside"),
        ("C:/a.txt", "no name of a file inside"),
        ("..\\a.txt", "no name of a file inside"),
        ("a\x1b[31m.txt", "no name of a file inside"),
        (link("a.txt"), "is a link"),
    ],
)
def test_a_member_that_leads_out_is_refused_and_nothing_is_written(tmp_path: Path, name, says: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    with pytest.raises(BadArchiveError, match=says):
        unpack(io.BytesIO(packed(("fine.txt", b"x"), (name, b"/etc/passwd"))), inner, 1000)
    assert [path.name for path in tmp_path.rglob("*")] == ["inner"]


@pytest.mark.parametrize("name", [b"a\0b.txt", b"\0\0\0\0\0\0\0", b"\xff\xfe/../a"[:7], b"a\n/b\r\tc"])
def test_a_name_that_no_one_would_write_is_refused(tmp_path: Path, name: bytes) -> None:
    content = packed(("aXb.txt", b"x")).replace(b"aXb.txt", name)
    with pytest.raises(BadArchiveError, match="no name of a file inside"):
        unpack(io.BytesIO(content), tmp_path, 1000)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    content = packed(("zeros", bytes(50_000_000)))
    assert len(content) < 60_000
    with pytest.raises(BadArchiveError, match="50000000 bytes when it is unpacked; at most 1000000 are"):
        unpack(io.BytesIO(content), tmp_path, 1_000_000)
    assert not list(tmp_path.iterdir())


def test_a_bomb_that_lies_about_its_size_gives_no_more_than_it_said(tmp_path: Path) -> None:
    content = packed(("zeros", bytes(50_000_000)))
    lying = content.replace((50_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    assert lying != content
    with pytest.raises(BadArchiveError, match="damaged"):
        unpack(io.BytesIO(lying), tmp_path, 1_000_000)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 10


def test_too_many_files_or_one_twice_or_in_a_folder_are_refused(tmp_path: Path) -> None:
    many = packed(*((str(number), b"") for number in range(10_001)))
    with pytest.raises(BadArchiveError, match="10001 files"):
        unpack(io.BytesIO(many), tmp_path, 1000)
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = packed(("a", b"1"), ("a", b"2"))
    with pytest.raises(BadArchiveError, match="twice"):
        unpack(io.BytesIO(twice), tmp_path, 1000)
    with pytest.raises(BadArchiveError, match="folder of its own"):
        unpack(io.BytesIO(packed(("in/a", b"1"))), tmp_path, 1000, flat=True)


@pytest.mark.parametrize(
    "content",
    [b"", b"PK", b"no archive at all" * 9, packed(("a", b"abc" * 99))[:-30]],
    ids=["nothing", "two bytes", "text", "cut off"],
)
def test_what_is_no_archive_says_so(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BadArchiveError, match="damaged, or no zip archive"):
        unpack(io.BytesIO(content), tmp_path, 1000)
