"""Another machine over SSH: a Raspberry Pi, a Jetson, a phone under Termux. It needs Python and the runtime only."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from autoshrink.core import DeviceError
from autoshrink.devices.remote import Remote

__all__ = ["Ssh"]

_ADDRESS = re.compile(r"ssh://(?P<login>[^/:,\s]+)(:(?P<port>\d+))?(?P<python>/\S+)?")
_CONNECT, _ALIVE = 10, 5
"""Seconds that a connection may take, and between two signs of life, of which three may be missing."""
_CACHE = "${XDG_CACHE_HOME:-$HOME/.cache}/autoshrink"


@dataclass(frozen=True)
class Ssh(Remote):
    """A machine that ``ssh`` reaches without a password, by the user's own configuration, keys and known hosts.

    One connection is kept open for a minute and shared by all that follow (``ControlMaster``).
    """

    address: str
    """``ssh://user@host[:port][/path/to/python]``; by default ``python3`` there."""

    @property
    def _host(self) -> str:
        return self._parts["login"].rpartition("@")[2]

    @property
    def _parts(self) -> dict[str, str]:
        match = _ADDRESS.fullmatch(self.address)
        if match is None:
            raise DeviceError(f"{self.address}: write ssh://user@host, with :port and /path/to/python if need be")
        return {name: value or "" for name, value in match.groupdict().items()}

    def _command(self) -> list[str]:
        ssh = shutil.which("ssh")
        if ssh is None:
            raise DeviceError(f"{self.address}: there is no ssh here: install OpenSSH's client")
        parts = self._parts
        return [ssh, *_options(parts["port"]), parts["login"], self._start(parts["python"] or "python3", _CACHE)]

    def _lost(self, code: int | None, said: list[str]) -> str:
        last = said[-1] if said else "the connection ended"
        if "Host key verification failed" in " ".join(said):
            return f"{last}; connect once by hand to see its key: ssh {self._parts['login']}"
        if "Permission denied" in last:
            return f"{last}; it has to let you in by a key, without a password: ssh-copy-id"
        if code == 127:
            return f"{last}; it needs Python, or the path to it at the end of the address"
        return last


def _options(port: str) -> list[str]:
    """Ask for nothing, notice a lost connection, and share one."""
    shared = Path(tempfile.gettempdir()) / f"autoshrink-ssh-{os.getuid()}"
    shared.mkdir(mode=0o700, exist_ok=True)
    settings = {
        "BatchMode": "yes",
        "ConnectTimeout": _CONNECT,
        "ServerAliveInterval": _ALIVE,
        "ControlMaster": "auto",
        "ControlPath": f"{shared}/%C",
        "ControlPersist": 60,
    }
    options = [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]
    return [*options, *(("-p", port) if port else ())]
