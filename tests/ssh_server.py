"""A real SSH server on the loopback address, which tests start, cut and stop."""

from __future__ import annotations

import contextlib
import getpass
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

SSHD = "/usr/sbin/sshd"


@dataclass
class Sshd:
    """A real SSH server of this test's, on the loopback address."""

    port: int
    settings: Path
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """This account here, and this Python."""
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{sys.executable}"

    def start(self) -> None:
        """Serve, and wait until it does."""
        arguments = ["-D", "-e", "-f", str(self.settings), "-o", f"ListenAddress=127.0.0.1:{self.port}"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([SSHD, *arguments], stderr=log)
        end = time.monotonic() + 10
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.02)
        raise RuntimeError("the SSH server did not start")

    def connections(self) -> list[psutil.Process]:
        """The processes that serve a connection."""
        return psutil.Process(self.process.pid).children() if self.process is not None else []

    def cut(self) -> None:
        """Pull the cable: end every connection, with what runs in it left to notice."""
        for process in self.connections():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def stop(self) -> None:
        """Serve nobody any more."""
        if self.process is not None:
            connections = self.connections()
            self.process.terminate()
            self.process.wait()
            for process in connections:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            self.process = None
