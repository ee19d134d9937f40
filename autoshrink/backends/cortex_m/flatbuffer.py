"""A FlatBuffer read with every offset checked, so that a damaged file is an error and never a wild read."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from autoshrink.core import SpecError

__all__ = ["Table", "root"]


@dataclass(frozen=True)
class Table:
    """A table at a position of a buffer; a field is named by its number in the schema."""

    buffer: bytes
    position: int
    source: str
    """The file's name, for messages."""

    def scalar(self, field: int, code: str, default: int | float = 0) -> int | float:
        """Read a number by its code in `struct`."""
        at = self._field(field)
        return default if at is None else self._read(at, code)

    def integer(self, field: int, code: str = "i", default: int = 0) -> int:
        """Read an integer."""
        return int(self.scalar(field, code, default))

    def table(self, field: int) -> Table | None:
        """Read a table, if it is there."""
        at = self._field(field)
        return None if at is None else Table(self.buffer, self._follow(at), self.source)

    def tables(self, field: int) -> list[Table]:
        """Read a vector of tables."""
        start, length = self._vector(field, 4)
        return [Table(self.buffer, self._follow(start + 4 * index), self.source) for index in range(length)]

    def numbers(self, field: int, code: str = "i") -> tuple[int | float, ...]:
        """Read a vector of numbers."""
        start, length = self._vector(field, struct.calcsize(code))
        return struct.unpack_from(f"<{length}{code}", self.buffer, start)

    def integers(self, field: int, code: str = "i") -> tuple[int, ...]:
        """Read a vector of integers."""
        return tuple(int(number) for number in self.numbers(field, code))

    def data(self, field: int) -> bytes:
        """Read a vector of bytes."""
        start, length = self._vector(field, 1)
        return self.buffer[start : start + length]

    def text(self, field: int) -> str:
        """Read a string."""
        return self.data(field).decode("utf-8", errors="replace")

    def _field(self, field: int) -> int | None:
        vtable = self.position - self._read(self.position, "i")
        entry = 4 + 2 * field
        offset = self._read(vtable + entry, "H") if entry < self._read(vtable, "H") else 0
        return self.position + offset if offset else None

    def _vector(self, field: int, item: int) -> tuple[int, int]:
        at = self._field(field)
        if at is None:
            return 0, 0
        start = self._follow(at)
        length = self._read(start, "I")
        self._check(start + 4, length * item)
        return start + 4, length

    def _follow(self, at: int) -> int:
        return at + self._read(at, "I")

    def _read(self, at: int, code: str) -> int:
        self._check(at, struct.calcsize(code))
        value: int = struct.unpack_from("<" + code, self.buffer, at)[0]
        return value

    def _check(self, at: int, size: int) -> None:
        if at < 0 or at + size > len(self.buffer):
            raise SpecError(
                f"{self.source}: the file is cut off or damaged: it has {len(self.buffer)} bytes, "
                f"and refers to {size} bytes at {at}"
            )


def root(buffer: bytes, source: str) -> Table:
    """Find the table that a FlatBuffer starts with."""
    start = Table(buffer, 0, source)
    return Table(buffer, start._follow(0), source)
