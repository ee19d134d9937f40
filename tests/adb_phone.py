"""A phone's end of the ADB protocol on the loopback address, written for the tests: no phone, and no Android.

The client and its server are the real ones. This end answers them as adbd does, and runs each command in a shell of
this machine, where what Android has at `/data/` and `/sys/` lies in a folder.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import IO

_VERSION, _MOST = 0x01000001, 1 << 18
_MOVED = re.compile(r"(?<![\w./-])/(data/local/tmp|data/data|sys/bus/iio|sys/devices/system/cpu)(?![\w.-])")
_PROGRAMS = {
    "getprop": "case $1 in ro.product.model) echo Folder;; ro.build.fingerprint) echo folder/folder:14/TEST;; esac",
    "dumpsys": """case $1 in
        thermalservice) echo "IsStatusOverride: false"; echo "Thermal Status: $(cat $(dirname $0)/../heat)";;
        battery) printf 'Current Battery Service state:\\n  AC powered: false\\n  USB powered: true\\n'
            printf '  level: 85\\n  temperature: 312\\n';; esac""",
    "run-as": 'shift; exec "$@"',
}
"""What Android has beside a shell's usual programs."""
_BANNER = b"device::ro.product.name=folder;ro.product.model=Folder;ro.product.device=folder;features=shell_v2,cmd"


class Phone:
    """Serves on a port until it is stopped.

    Attributes:
        folder: holds ``data/``, ``sys/``, ``bin/`` and the thermal state in ``heat``.
        manner: ``device``; or ``unauthorized``, which never allows a computer to debug.
    """

    def __init__(self, folder: Path, port: int = 0, manner: str = "device") -> None:
        self.folder, self.manner = folder, manner
        for name in ("bin", "data/local/tmp", "data/data"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "heat").write_text("0")
        for name, text in _PROGRAMS.items():
            self.program(f"bin/{name}", f"#!/bin/sh\n{text}\n")
        self.port = port
        self._listener: socket.socket | None = None
        self._connections: list[_Connection] = []

    @property
    def serial(self) -> str:
        """How the client calls it."""
        return f"127.0.0.1:{self.port}"

    def program(self, name: str, text: str) -> None:
        """Put a program into the folder."""
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)

    def start(self) -> None:
        """Serve."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """Pull the cable, and plug it in again at once."""
        for connection in self._connections:
            connection.close()
        self._connections = []

    def stop(self) -> None:
        """Pull the cable."""
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        self.cut()

    def moved(self, text: str) -> str:
        """Put this phone's folder before the paths that only a phone has."""
        return _MOVED.sub(lambda found: f"{self.folder}{found[0]}", text)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection = _Connection(self, listener.accept()[0])
                self._connections.append(connection)
                threading.Thread(target=connection.serve, daemon=True).start()


class _Connection:
    """Messages of one computer: a head of six numbers, and what it says is behind it."""

    def __init__(self, phone: Phone, other: socket.socket) -> None:
        self.phone = phone
        self._other = other
        other.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sending = threading.Lock()
        self._streams: dict[int, _Stream] = {}

    def serve(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            while True:
                kind, first, second, size, _, _ = struct.unpack("<4s5I", self._exactly(24))
                self._take(kind, first, second, self._exactly(size))
        self.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._other.shutdown(socket.SHUT_RDWR)
        self._other.close()
        for stream in list(self._streams.values()):
            stream.end()

    def send(self, kind: bytes, first: int, second: int, content: bytes = b"") -> None:
        magic = int.from_bytes(kind, "little") ^ 0xFFFFFFFF
        head = struct.pack("<4s5I", kind, first, second, len(content), sum(content) & 0xFFFFFFFF, magic)
        with self._sending:
            self._other.sendall(head + content)

    def _take(self, kind: bytes, first: int, second: int, content: bytes) -> None:
        if kind == b"CNXN" and self.phone.manner == "device":
            self.send(b"CNXN", _VERSION, _MOST, _BANNER)
        elif kind in (b"CNXN", b"AUTH") and first != 3:
            self.send(b"AUTH", 1, 0, bytes(20))  # a token to sign, again and again: no key is known
        elif kind == b"OPEN":
            service = content.rstrip(b"\0").decode()
            stream = (_Push if service == "sync:" else _Shell)(self, len(self._streams) + 1, first)
            self._streams[stream.here] = stream
            self.send(b"OKAY", stream.here, first)
            stream.start(service)
        elif kind == b"WRTE" and second in self._streams:
            self.send(b"OKAY", second, first)
            self._streams[second].heard.put(content)
        elif kind == b"OKAY" and second in self._streams:
            self._streams[second].ready.release()
        elif kind == b"CLSE" and second in self._streams:
            self._streams[second].end()

    def _exactly(self, size: int) -> bytes:
        content = b""
        while len(content) < size:
            part = self._other.recv(size - len(content))
            if not part:
                raise EOFError
            content += part
        return content


class _Stream:
    """One service that the computer opened."""

    def __init__(self, connection: _Connection, here: int, there: int) -> None:
        self.connection, self.here, self.there = connection, here, there
        self.heard: SimpleQueue[bytes] = SimpleQueue()
        self.ready = threading.Semaphore(1)
        self._left, self._saying = b"", threading.Lock()

    def start(self, service: str) -> None:
        threading.Thread(target=self._guarded, args=(service,), daemon=True).start()

    def end(self) -> None:
        """The computer has closed it: nothing more is heard, and nothing waits."""
        self.heard.put(b"")
        self.ready.release(1000)

    def say(self, content: bytes) -> None:
        """Send, each message after the other was taken."""
        with self._saying:
            for at in range(0, len(content), _MOST // 2):
                self.ready.acquire()
                self.connection.send(b"WRTE", self.here, self.there, content[at : at + _MOST // 2])

    def listen(self, size: int) -> bytes:
        """Wait for so many bytes; fewer when it was closed."""
        while len(self._left) < size:
            part = self.heard.get()
            if not part:
                return b""
            self._left += part
        content, self._left = self._left[:size], self._left[size:]
        return content

    def work(self, service: str) -> None:
        raise NotImplementedError

    def _guarded(self, service: str) -> None:
        with contextlib.suppress(OSError):
            self.work(service)
            self.connection.send(b"CLSE", self.here, self.there)


class _Shell(_Stream):
    """``shell,v2,raw:COMMAND``: packets of a kind (0 in, 1 out, 2 errors, 3 exit status, 4 no more in) and a size."""

    def work(self, service: str) -> None:
        phone = self.connection.phone
        assert service.startswith("shell,v2,"), service
        command = phone.moved(service.partition(":")[2])
        environment = {"PATH": f"{phone.folder}/bin:{os.environ['PATH']}", "HOME": "/", "TMPDIR": str(phone.folder)}
        process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=phone.folder,
            env=environment,
            start_new_session=True,
        )
        assert process.stdin is not None
        threading.Thread(target=self._feed, args=(process.stdin,), daemon=True).start()
        pumps = [
            threading.Thread(target=self._pump, args=(kind, pipe.fileno()), daemon=True)
            for kind, pipe in ((1, process.stdout), (2, process.stderr))
            if pipe is not None
        ]
        with process:  # closes its pipes
            for pump in pumps:
                pump.start()
            for pump in pumps:
                pump.join()
        self.say(struct.pack("<BIB", 3, 1, process.returncode & 0xFF))

    def _feed(self, pipe: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError), pipe:
            for kind, content in self._packets():
                if kind == 4:
                    return
                if kind == 0:
                    pipe.write(content)
                    pipe.flush()

    def _packets(self) -> Iterator[tuple[int, bytes]]:
        while head := self.listen(5):
            kind, size = struct.unpack("<BI", head)
            yield kind, self.listen(size) if size else b""

    def _pump(self, kind: int, pipe: int) -> None:
        with contextlib.suppress(OSError):
            while content := os.read(pipe, 1 << 15):
                self.say(struct.pack("<BI", kind, len(content)) + content)


class _Push(_Stream):
    """``sync:`` as far as a push of one file goes: STAT, SEND with DATA and DONE, QUIT."""

    def work(self, service: str) -> None:
        while len(head := self.listen(8)) == 8 and not head.startswith(b"QUIT"):
            kind, size = struct.unpack("<4sI", head)
            path = self.connection.phone.moved(self.listen(size).decode())
            if kind in (b"STAT", b"LSTA"):
                found = Path(path).stat() if Path(path).exists() else None
                facts = (found.st_mode, found.st_size, int(found.st_mtime)) if found else (0, 0, 0)
                self.say(struct.pack("<4sIII", b"STAT", *facts))
            elif kind == b"SEND":
                self._keep(*path.rsplit(",", 1))
            else:
                raise AssertionError(head)

    def _keep(self, path: str, mode: str) -> None:
        content = b""
        while (head := self.listen(8)).startswith(b"DATA"):
            content += self.listen(struct.unpack("<4sI", head)[1])
        if not head.startswith(b"DONE"):
            return
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_bytes(content)
            Path(path).chmod(int(mode) & 0o777)
        except OSError as error:
            said = str(error).encode()
            self.say(struct.pack("<4sI", b"FAIL", len(said)) + said)
        else:
            self.say(struct.pack("<4sI", b"OKAY", 0))
