"""What machines behind a connection share: the harness is sent once, and talks through a program here such as ssh."""

from __future__ import annotations

import json
import shlex
import subprocess
import tempfile
import threading
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, ClassVar

from autoshrink.core import DeviceError
from autoshrink.devices.base import Device
from autoshrink.devices.endings import check_ending
from autoshrink.devices.parcel import harness, pack, unpack

__all__ = ["Remote"]

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


class Remote(Device):
    """A machine that a program of this one connects to; it needs Python with NumPy, and the runtime."""

    patience: ClassVar[float] = 600.0
    """Seconds that files may travel and answers may take, beside a run's own time."""

    @abstractmethod
    def _command(self) -> list[str]:
        """Name the program here, with the arguments that run `_start` there, its pipes being those of Python there."""

    @abstractmethod
    def _lost(self, code: int | None, said: list[str]) -> str:
        """Say what a lost connection means.

        Args:
            code: what the program here ended with.
            said: the lines that it wrote to its standard error.
        """

    @property
    @abstractmethod
    def _host(self) -> str:
        """The machine there, as people call it."""

    def run(self, adapter: Path, request: Mapping[str, Any], files: Mapping[str, Path], timeout: float) -> Path:
        """Send what is not there yet, run the harness, fetch the answer; see `Device.run`."""
        parcel = pack(adapter, request, files, timeout)
        with self._connected(timeout) as talk:
            for key in set(talk.ask({"do": "have", "keys": sorted(parcel.contents)})["missing"]):
                content = parcel.contents[key]
                talk.say({"do": "put", "key": key, "size": len(content)}, content)
            ended, content = talk.run(parcel.message)
        check_ending(ended, self.address, f"Python on {self._host}", timeout)
        return unpack(content, "autoshrink-remote-")

    def fingerprint(self) -> dict[str, str]:
        """Describe the machine there."""
        with self._connected() as talk:
            found: dict[str, str] = dict(talk.ask({"do": "facts"})["facts"])
        return found

    def versions(self, packages: Iterable[str]) -> dict[str, str]:
        """Give the versions of packages there."""
        with self._connected() as talk:
            found: dict[str, str] = dict(talk.ask({"do": "versions", "packages": list(packages)})["versions"])
        return found

    @staticmethod
    def _start(python: str, cache: str) -> str:
        """Write the shell's line that starts the harness there.

        Args:
            python: the interpreter there.
            cache: a folder there that files are kept in; the shell there may expand it.
        """
        content, key = harness()
        return f'exec {shlex.quote(python)} -c {shlex.quote(_BEGIN)} "{cache}" {len(content)} harness-{key}'

    @contextmanager
    def _connected(self, longest: float = 0.0) -> Iterator[_Talk]:
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                self._command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,  # Ctrl-C is for the search, which ends this in order
            )
            if process.stdin is None or process.stdout is None:
                raise AssertionError("both are pipes")
            watchdog = threading.Timer(self.patience + longest, process.kill)  # whoever says nothing is gone
            watchdog.daemon = True
            watchdog.start()
            try:
                talk = _Talk(process.stdin, process.stdout)
                talk.send(harness()[0])
                yield talk
            except _NONSENSE:
                _end(process)
                errors.seek(0)
                said = errors.read().decode(errors="replace").strip().splitlines()
                raise DeviceError(f"{self.address}: {self._lost(process.returncode, said)}") from None
            finally:
                watchdog.cancel()
                _end(process)


_NONSENSE = (BrokenPipeError, EOFError, ValueError, LookupError, TypeError, RecursionError)
"""What it means that the machine there is gone, or gives answers that are none."""
_SIGNALS = 64
_LONGEST, _MOST = 1 << 26, 1 << 32
"""Bytes of an answer, and of what a run wrote, packed."""


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
        line = self._back.readline(_LONGEST)
        if not line.endswith(b"\n"):
            raise EOFError
        answer: dict[str, Any] = json.loads(line)
        return answer

    def run(self, message: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Ask for a run; the answer has a code, a stage, a log and what was written."""
        ended = self.ask({"do": "run", **message})
        code = ended["code"]
        if not (code is None or code in range(-_SIGNALS, 256)) or {type(ended[name]) for name in ("stage", "log")} != {
            str
        }:
            raise ValueError
        return ended, self.read(ended["size"])

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _MOST:
            raise ValueError
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
