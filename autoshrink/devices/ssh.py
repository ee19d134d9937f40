"""Another machine over SSH: a Raspberry Pi, a Jetson, a phone under Termux. It needs Python and the runtime only."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from autoshrink.core import DeviceError
from autoshrink.devices.base import Device
from autoshrink.devices.endings import check_ending

__all__ = ["Ssh"]

_HARNESS = Path(__file__).with_name("harness")
_ADDRESS = re.compile(r"ssh://(?P<login>[^/:,\s]+)(:(?P<port>\d+))?(?P<python>/\S+)?")
_CONNECT, _ALIVE = 10, 5
"""Seconds that a connection may take, and between two signs of life, of which three may be missing."""
_CACHE = "${XDG_CACHE_HOME:-$HOME/.cache}/autoshrink"
_BEGIN = """\
import os, sys
folder, size = sys.argv[1:3]
harness = os.path.join(folder, sys.argv[3])
content = sys.stdin.buffer.raw.read(0)
while len(content) < int(size):
    part = sys.stdin.buffer.raw.read(int(size) - len(content))
    if not part: sys.exit(1)
    content += part
if not os.path.isdir(os.path.join(harness, "harness")):
    import io, tempfile, zipfile
    os.makedirs(folder, exist_ok=True)
    partial = tempfile.mkdtemp(dir=folder)
    zipfile.ZipFile(io.BytesIO(content)).extractall(partial)
    try: os.rename(partial, harness)
    except OSError: pass
sys.path.insert(0, harness)
from harness.agent import serve
serve(folder, sys.stdin.buffer.raw, sys.stdout.buffer)
"""
"""What Python there is started with: it takes this folder, unpacks it once, and answers."""


@dataclass(frozen=True)
class Ssh(Device):
    """A machine that ``ssh`` reaches without a password, by the user's own configuration, keys and known hosts.

    One connection is kept open for a minute and shared by all that follow (``ControlMaster``).
    """

    address: str
    """``ssh://user@host[:port][/path/to/python]``; by default ``python3`` there."""

    def run(self, adapter: Path, request: Mapping[str, Any], files: Mapping[str, Path], timeout: float) -> Path:
        """Send what is not there yet, run the harness, fetch the answer; see `Device.run`."""
        places = {name: f"{name}/{path.name}" if path.is_file() else name for name, path in files.items()}
        program = f"adapter/{adapter.name}"
        given = {**dict(_walk(files)), program: adapter}
        contents = {name: path.read_bytes() for name, path in given.items()}
        keys = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        with self._connected() as talk:
            missing = set(talk.ask({"do": "have", "keys": sorted(set(keys.values()))})["missing"])
            for name, key in keys.items():
                if key in missing:
                    missing.remove(key)
                    talk.say({"do": "put", "key": key, "size": len(contents[name])}, contents[name])
            message = {"request": dict(request), "places": places, "adapter": program, "timeout": timeout}
            ended = talk.ask({"do": "run", "files": keys, **message})
            content = talk.read(ended["size"])
        check_ending(ended, self.address, f"Python on {self._host}", timeout)
        folder = Path(tempfile.mkdtemp(prefix="autoshrink-ssh-"))
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                (folder / Path(name).name).write_bytes(archive.read(name))
        return folder

    def fingerprint(self) -> dict[str, str]:
        """Describe the machine there."""
        with self._connected() as talk:
            found: dict[str, str] = talk.ask({"do": "facts"})["facts"]
        return found

    def versions(self, packages: Iterable[str]) -> dict[str, str]:
        """Give the versions of packages there."""
        with self._connected() as talk:
            found: dict[str, str] = talk.ask({"do": "versions", "packages": list(packages)})["versions"]
        return found

    @property
    def _host(self) -> str:
        return self._parts["login"].rpartition("@")[2]

    @property
    def _parts(self) -> dict[str, str]:
        match = _ADDRESS.fullmatch(self.address)
        if match is None:
            raise DeviceError(f"{self.address}: write ssh://user@host, with :port and /path/to/python if need be")
        return {name: value or "" for name, value in match.groupdict().items()}

    @contextmanager
    def _connected(self) -> Iterator[_Talk]:
        ssh = shutil.which("ssh")
        if ssh is None:
            raise DeviceError(f"{self.address}: there is no ssh here: install OpenSSH's client")
        content, key = _harness()
        parts = self._parts
        python = parts["python"] or "python3"
        begin = [shlex.quote(_BEGIN), f'"{_CACHE}"', str(len(content)), f"harness-{key}"]
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                [ssh, *_options(parts["port"]), parts["login"], f"exec {shlex.quote(python)} -c {' '.join(begin)}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,  # Ctrl-C is for the search, which ends this in order
            )
            if process.stdin is None or process.stdout is None:
                raise AssertionError("both are pipes")
            try:
                talk = _Talk(process.stdin, process.stdout)
                talk.send(content)
                yield talk
            except (BrokenPipeError, EOFError, ValueError):
                raise DeviceError(self._lost(process, errors)) from None
            finally:
                _end(process)

    def _lost(self, process: subprocess.Popen[bytes], errors: IO[bytes]) -> str:
        _end(process)
        errors.seek(0)
        lines = errors.read().decode(errors="replace").strip().splitlines()
        said = lines[-1] if lines else "the connection ended"
        if "Host key verification failed" in " ".join(lines):
            said += f"; connect once by hand to see its key: ssh {self._parts['login']}"
        elif "Permission denied" in said:
            said += "; it has to let you in by a key, without a password: ssh-copy-id"
        elif process.returncode == 127:
            said += "; it needs Python, or the path to it at the end of the address"
        return f"{self.address}: {said}"


class _Talk:
    """Messages to and from the agent there: `autoshrink.devices.harness.agent` describes them."""

    def __init__(self, to: IO[bytes], back: IO[bytes]) -> None:
        self._to = to
        self._back = back

    def send(self, content: bytes) -> None:
        self._to.write(content)
        self._to.flush()

    def say(self, message: Mapping[str, Any], content: bytes = b"") -> None:
        self.send(json.dumps(message).encode() + b"\n" + content)

    def ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        self.say(message)
        line = self._back.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        answer: dict[str, Any] = json.loads(line)
        return answer

    def read(self, size: int) -> bytes:
        content = self._back.read(size)
        if len(content) < size:
            raise EOFError
        return content


def _end(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except OSError:
                continue
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


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


@functools.cache
def _harness() -> tuple[bytes, str]:
    """Pack the harness, the same bytes each time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(_HARNESS.glob("*.py")):
            archive.writestr(zipfile.ZipInfo(f"harness/{path.name}"), path.read_bytes())
    content = buffer.getvalue()
    return content, hashlib.sha256(content).hexdigest()[:16]


def _walk(files: Mapping[str, Path]) -> Iterator[tuple[str, Path]]:
    for name, path in files.items():
        for item in [path] if path.is_file() else path.rglob("*"):
            if item.is_file():
                yield f"{name}/{path.name if path.is_file() else item.relative_to(path)}", item
