"""Several devices of one kind: whichever is free takes the next artifact."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autoshrink.core import DeviceError
from autoshrink.devices.base import Device
from autoshrink.devices.identity import difference

__all__ = ["Several"]

_LOOK = 0.05
"""Seconds between two looks for a free device."""


class Several(Device):
    """A pool. Each device is taken by one process of this machine at a time, by a lock that goes with the process."""

    def __init__(self, members: Sequence[Device]) -> None:
        self._members = tuple(members)
        self.places = len(self._members)

    def run(self, adapter: Path, request: Mapping[str, Any], files: Mapping[str, Path], timeout: float) -> Path:
        """Run on a free device; where that one is gone, on another. See `Device.run`."""
        lost: list[str] = []
        left = list(self._members)
        while left:
            with _taken(left) as member:
                try:
                    return member.run(adapter, request, files, timeout)
                except DeviceError as error:
                    lost.append(str(error))
                    left.remove(member)
        raise DeviceError("none of the devices answers: " + "; ".join(lost))

    def fingerprint(self) -> dict[str, str]:
        """Describe them, who have to be alike.

        Raises:
            DeviceError: one is gone, or differs from another.
        """
        first, *others = self._members
        kind = first.fingerprint()
        for other in others:
            if differing := difference(kind, other.fingerprint()):
                raise DeviceError(f"{first.address} and {other.address} are not of one kind: {differing}")
        return kind

    def versions(self, packages: Iterable[str]) -> dict[str, str]:
        """Give the versions on the first one."""
        return self._members[0].versions(packages)


@contextmanager
def _taken(members: Sequence[Device]) -> Iterator[Device]:
    folder = Path(tempfile.gettempdir()) / f"autoshrink-devices-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    while True:
        for member in members:
            name = hashlib.sha256(member.address.encode()).hexdigest()[:16]
            with (folder / name).open("w") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                yield member
                return
        time.sleep(_LOOK)
