"""A phone over ADB that has Python: Termux's, or one of its own. The harness runs there as on any other machine."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoshrink.core import DeviceError
from autoshrink.devices.phone import Phone
from autoshrink.devices.remote import Remote

__all__ = ["Adb", "note_condition", "phone_at"]

_ADDRESS = re.compile(r"adb://(?P<serial>[^/,\s]+)(?P<python>/\S+)?")
_APP = re.compile(r"(/data/data/(?P<app>[\w.]+))/.+")
_PLACE = "/data/local/tmp/autoshrink"
"""Where ADB's own user may write, and run what it wrote."""


@dataclass(frozen=True)
class Adb(Remote):
    """A phone that the platform's ``adb`` reaches, with Python, NumPy and the runtime.

    Python that belongs to an app, such as Termux's ``/data/data/com.termux/files/usr/bin/python3``, is run as that app
    (``run-as``), which Android allows for builds that can be debugged.
    """

    address: str
    """``adb://SERIAL[/path/to/python]``; by default ``python3`` there."""

    def run(self, adapter: Path, request: Mapping[str, Any], files: Mapping[str, Path], timeout: float) -> Path:
        """Wait until it is cool, run the harness there, and note the phone's condition; see `Device.run`."""
        phone = phone_at(self.address)
        before = phone.cool()
        folder = super().run(adapter, request, files, timeout)
        note_condition(folder, before, phone)
        return folder

    @property
    def _host(self) -> str:
        return f"the phone {phone_at(self.address).serial}"

    def _command(self) -> list[str]:
        phone = phone_at(self.address)
        phone.reach()
        python = self.address.partition(phone.serial)[2] or "python3"
        owner = _APP.fullmatch(python)
        place = f"{owner[1]}/cache/autoshrink" if owner else _PLACE
        line = f"export TMPDIR={place}; mkdir -p $TMPDIR && {self._start(python, place)}"
        return phone.client("shell", "-T", f"run-as {owner['app']} sh -c {shlex.quote(line)}" if owner else line)

    def _lost(self, code: int | None, said: list[str]) -> str:
        last = phone_at(self.address).lost(said)
        if code == 127 or "not debuggable" in last or "unknown package" in last:
            return (
                f"{last}; it needs Python, its path stands at the end of the address; without Python the profile names "
                "the runtime's own program: options: {benchmark: /data/local/tmp/benchmark_model}"
            )
        return last


def phone_at(address: str) -> Phone:
    """Find the phone of an address.

    Raises:
        DeviceError: it is no address.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise DeviceError(f"{address}: write adb://SERIAL ('adb devices' lists it), with /path/to/python if need be")
    return Phone(match["serial"])


def note_condition(folder: Path, before: Mapping[str, Any], phone: Phone) -> None:
    """Write into an answer the condition that the phone was in before and is in now."""
    file = folder / "answer.json"
    answer = json.loads(file.read_text())
    file.write_text(json.dumps({**answer, "phone": {"before": before, "after": phone.condition()}}))
