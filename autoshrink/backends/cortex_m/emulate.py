"""A firmware run on the emulated board: its outputs, and exactly what it took."""

from __future__ import annotations

import struct
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autoshrink.backends.cortex_m.counting import Histogram, plugin, read_histogram
from autoshrink.backends.cortex_m.toolchain import Firmware, program
from autoshrink.core import DeviceError, Refusal

__all__ = ["Emulated", "run"]

# Where instructions can't be counted one by one, the emulator's clock advances by 64 ns for each.
_ICOUNT = ("-icount", "shift=6,align=off,sleep=off")
_NS_PER_INSTRUCTION = 64


@dataclass(frozen=True)
class Emulated:
    """What a firmware gave and took. Every figure is exact and the same in every run."""

    outputs: NDArray[np.int8]
    """One row for each input."""
    histogram: Histogram | None
    """Of one inference on the first input, with warm caches; missing where the plugin can't be built."""
    instructions: int
    """Of one inference on the first input."""
    counting: str
    """How instructions were counted: ``plugin``, or ``icount`` and why; icount is exact within about 5 instructions."""
    stack_bytes: int
    flash_bytes: int
    ram_bytes: int
    """The arena, every variable, one input, one output, and the stack that was used."""
    seconds: float
    """Of the emulated run, on this machine."""


def run(firmware: Firmware, inputs: NDArray[np.int8], timeout: float = 120.0, count: bool = True) -> Emulated:
    """Run a firmware on a batch of inputs, all in one start of the emulated board.

    Args:
        firmware: as `build` gives it.
        inputs: one int8 example for each row; every row has the model's input size.
        timeout: seconds after which the run is ended.
        count: whether to count instructions one by one if the plugin can be built.

    Raises:
        BackendUnavailable: no emulator.
        Refusal: the stack that the board keeps is too small.
        DeviceError: the run took longer than the timeout.
        RuntimeError: the firmware faulted or gave up, which is a bug of whatever wrote it.
    """
    if not len(inputs):
        raise ValueError("a firmware is run on at least one input")
    library, reason = plugin() if count else (None, "not asked for")
    with tempfile.TemporaryDirectory(prefix="autoshrink-") as name:
        folder = Path(name)
        inputs.astype(np.int8, casting="safe").tofile(folder / "inputs.bin")
        started = time.perf_counter()
        message = _start(firmware, folder, _counting(firmware, library), timeout)
        if library is not None and not (folder / "report.bin").exists() and "plugin" in message.lower():
            library, reason = None, f"the emulator does not load the counting plugin: {message[-200:]}"
            message = _start(firmware, folder, _ICOUNT, timeout)
        seconds = time.perf_counter() - started
        if not (folder / "report.bin").exists():
            raise _failure(firmware, folder, message)
        return _read(firmware, folder, len(inputs), reason, seconds)


def _counting(firmware: Firmware, library: Path | None) -> Sequence[str]:
    if library is None:
        return _ICOUNT
    flash, access, symbols = firmware.board.emulated.flash, firmware.board.flash_access, firmware.symbols
    arguments = {
        "begin": symbols["autoshrink_begin"] & ~1,
        "end": symbols["autoshrink_end"] & ~1,
        "flash": flash.origin,
        "flash_end": flash.origin + flash.size,
        "line": int(access.line) if access.wait else 0,
        "icache": int(access.unified_cache or access.instruction_cache or 0),
        "dcache": int(access.data_cache or 0),
        "unified": int(access.unified_cache is not None),
        "prefetch": int(access.prefetch),
    }
    return ("-plugin", ",".join((str(library), *(f"{k}={v:#x}" for k, v in arguments.items()), "out=histogram.txt")))


def _start(firmware: Firmware, folder: Path, counting: Sequence[str], timeout: float) -> str:
    """Run the emulator; gives what it said on stderr."""
    machine = ("-M", firmware.board.emulated.machine, "-display", "none", "-serial", "none", "-monitor", "none")
    command = [program("qemu-system-arm"), *machine, "-nodefaults", *counting]
    command += ["-semihosting-config", "enable=on,target=native", "-kernel", str(firmware.elf.resolve())]
    try:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        raise DeviceError(f"the emulated {firmware.board.core} took longer than {timeout:g} s") from None
    return f"{done.stdout}{done.stderr}".strip() or f"exit status {done.returncode}"


def _read(firmware: Firmware, folder: Path, expected: int, reason: str, seconds: float) -> Emulated:
    inferences, stack, ticks, overhead = struct.unpack("<4I", (folder / "report.bin").read_bytes())
    if stack > firmware.board.stack:
        raise Refusal(f"the model needs {stack} bytes of stack, and {firmware.board.name} keeps {firmware.board.stack}")
    if inferences != expected:
        raise ValueError(f"{expected} inputs were given, and {inferences} of the model's input size were read")
    histogram = read_histogram(folder / "histogram.txt")
    if histogram is not None:
        instructions = sum(count.executed for count in histogram.values())
    else:
        ns = (ticks - overhead) % 2**32 * 1e9 / firmware.board.emulated.timer_hz
        instructions = round(ns / _NS_PER_INSTRUCTION)
    return Emulated(
        outputs=np.fromfile(folder / "outputs.bin", np.int8).reshape(expected, -1),
        histogram=histogram,
        instructions=instructions,
        counting="plugin" if histogram is not None else f"icount: {reason}",
        stack_bytes=stack,
        flash_bytes=firmware.flash_bytes,
        ram_bytes=firmware.ram_bytes + stack,
        seconds=seconds,
    )


def _failure(firmware: Firmware, folder: Path, message: str) -> Exception:
    board, symbols = firmware.board, firmware.symbols
    fault = folder / "fault.bin"
    if not fault.exists():
        return RuntimeError(f"the firmware gave up on the emulated {board.core}: {message[-1000:]}")
    address, status, accessed = struct.unpack("<3I", fault.read_bytes())
    function = max((n for n, at in symbols.items() if at <= address), key=lambda n: symbols[n], default="?")
    return RuntimeError(
        f"the firmware faulted on the emulated {board.core} in {function} at {address:#x} "
        f"(status {status:#x}, access to {accessed:#x})"
    )
