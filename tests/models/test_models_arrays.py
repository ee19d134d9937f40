"""NumPy's files from elsewhere: read when they are what they say, refused before anything is allocated when not."""

from __future__ import annotations

import io
import pickle
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from autoshrink.core import SpecError
from autoshrink.models.arrays import read_array, read_arrays


def header(shape: str, dtype: str = "<f4") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    "array",
    [np.arange(12.0).reshape(3, 4), np.asfortranarray(np.arange(6).reshape(2, 3)), np.array(3), np.zeros((0, 5), bool)],
)
def test_arrays_are_read_as_numpy_reads_them(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    np.savez_compressed(tmp_path / "a.npz", first=array, second=array + 1)
    found = read_array(tmp_path / "a.npy")
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype
    assert found.flags.writeable
    both = read_arrays(tmp_path / "a.npz")
    assert list(both) == ["first", "second"]
    np.testing.assert_array_equal(both["second"], array + 1)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (header(f"({2**40},)") + bytes(64), "does not have"),
        (header(f"({2**40}, {2**40}, {2**40})") + bytes(64), "does not have"),
        (header("(-4, -4)") + bytes(64), "does not have"),
        (header("(3, 4)") + bytes(20), "does not have"),
        (header("(2,)", "|O") + pickle.dumps([1, 2]), "only numbers"),
        (header("(1,)", "<U4") + bytes(16), "only numbers"),
        (header("__import__('os').system('id')") + bytes(4), "can't be read"),
        (header("(" * 60), "can't be read"),
        (b"\x93NUMPY\x07\x00", "no array"),
        (b"", "no array"),
        (b"\x93NUMPY\x02\x00" + (2**32 - 1).to_bytes(4, "little"), "a header of 4294967295 bytes"),
    ],
)
def test_an_array_that_is_not_what_it_says_is_refused_at_once(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", content)
    tracemalloc.start()
    for read, name in ((read_array, "a.npy"), (read_arrays, "a.npz")):
        with pytest.raises(SpecError, match=says) as caught:
            read(tmp_path / name)
        assert len(str(caught.value).splitlines()) == 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_what_a_pickle_would_do_is_not_done(tmp_path: Path) -> None:
    class Bad:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "done",))

    buffer = io.BytesIO()
    np.save(buffer, np.array([Bad()], object), allow_pickle=True)
    (tmp_path / "a.npy").write_bytes(buffer.getvalue())
    with pytest.raises(SpecError, match="only numbers"):
        read_array(tmp_path / "a.npy")
    assert not (tmp_path / "done").exists()
