"""Ties the program to whoever started it: when that process is killed, the kernel ends the program and its children."""

from __future__ import annotations

import fcntl
import os
import select
import signal

__all__ = ["tie"]


def tie(descriptor: int) -> None:
    """Have this process group killed when the other end of a pipe is closed, which takes no thread that would disturb.

    Where the system knows no such thing, nothing is done: then the program ends when its work is done.

    Args:
        descriptor: what to read from; nothing is ever written there.
    """
    if not hasattr(fcntl, "F_SETSIG"):  # Linux has it
        return
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([descriptor], [], [], 0)[0]:  # it was closed before that
        os.killpg(0, signal.SIGKILL)
