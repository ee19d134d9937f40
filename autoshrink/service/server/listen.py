"""The service's process: one loop for requests, threads for what blocks, and a clean end."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

from autoshrink.core import SpecError
from autoshrink.service.server.app import create_app
from autoshrink.service.server.service import Service

__all__ = ["bind", "listen"]

_PATIENCE = 10
"""Seconds that requests have to come to their end."""
_KEPT = 65
"""Seconds that a silent connection is kept: a proxy that stands before this hangs up first."""
_INTERRUPTED = 130


def bind(host: str, port: int) -> socket.socket:
    """Take the address.

    Raises:
        SpecError: somebody else has it, or it is none of this machine's.
    """
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise SpecError(f"--host {host} --port {port}: can't listen there ({error.strerror}); name another") from None


def listen(service: Service, taken: socket.socket, ready: Callable[[], None]) -> int:
    """Serve until SIGTERM or Ctrl-C; searches that run go on, and the next service looks after them.

    Args:
        service: what is served.
        taken: where.
        ready: is called when requests are answered.

    Returns:
        The exit code: 0 after SIGTERM, 130 after Ctrl-C.
    """
    ended: list[int] = []

    def after(number: int, frame: FrameType | None) -> None:
        ended.append(number)  # uvicorn sends itself again what ended it

    config = uvicorn.Config(
        create_app(service),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEPT,
        timeout_graceful_shutdown=_PATIENCE,
    )
    before = {number: signal.signal(number, after) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with service.alone():
            _Server(config, service, ready).run(sockets=[taken])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return _INTERRUPTED if signal.SIGINT in ended else 0


class _Server(uvicorn.Server):
    """Ends the streams of followers first, which would keep it waiting."""

    def __init__(self, config: uvicorn.Config, service: Service, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._service = service
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end."""
        self._service.feeds.stop()
        super().handle_exit(sig, frame)
