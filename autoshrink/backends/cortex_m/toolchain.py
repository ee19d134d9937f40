"""From C sources to a firmware image for one board, by Debian's cross compiler."""

from __future__ import annotations

import functools
import os
import re
import shutil
import string
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoshrink.backends.cortex_m.boards import Board
from autoshrink.backends.cortex_m.cache import built_once
from autoshrink.backends.cortex_m.cores import Core
from autoshrink.core import BackendUnavailable, Refusal

__all__ = [
    "BOARD_FILES",
    "COMPILE_FLAGS",
    "FREESTANDING",
    "INSTALL",
    "LINK_FLAGS",
    "Firmware",
    "build",
    "linker_script",
    "program",
    "read_image",
    "run_program",
    "versions",
]

BOARD_FILES = Path(__file__).resolve().parent / "board"
"""Start-up code, linker script and harness."""
INSTALL = "apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm"
COMPILE_FLAGS = ("-std=gnu11", "-ffunction-sections", "-fdata-sections", "-Wall", "-Wextra")
# Start-up code and harness run before a C library could: no loop of theirs may become a call of memset.
FREESTANDING = ("-O2", "-ffreestanding", "-fno-tree-loop-distribute-patterns")
LINK_FLAGS = ("-nostartfiles", "--specs=nano.specs", "-Wl,--gc-sections", "-Wl,--no-warn-rwx-segments")
_OVERFLOW = re.compile(r"region `(\w+)' overflowed by (\d+) bytes")
_INCLUDE = re.compile(rb'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)


@dataclass(frozen=True)
class Firmware:
    """A linked image and what the linker says about it."""

    elf: Path
    board: Board
    symbols: Mapping[str, int]
    """Addresses of functions and values of the linker script's symbols."""
    overflow: Mapping[str, int]
    """Bytes by which ``flash`` or ``ram`` is too small for the image; empty when it fits."""

    @property
    def flash_bytes(self) -> int:
        """Bytes of flash: vectors, code, constants and the initial values of variables."""
        return self.symbols["firmware_flash_bytes"]

    @property
    def ram_bytes(self) -> int:
        """Bytes of RAM without the stack: the arena, every variable, one input and one output."""
        return self.symbols["firmware_ram_bytes"]


@functools.cache
def program(name: str) -> str:
    """Find a program of the toolchain.

    Raises:
        BackendUnavailable: it is not installed; the message says how to install it.
    """
    path = shutil.which(name)
    if path is None:
        raise BackendUnavailable(f"{name} is not installed: {INSTALL}")
    return path


@functools.cache
def require_toolchain() -> None:
    """Check that firmware can be built and run here.

    Raises:
        BackendUnavailable: a program or the C library is not installed; the message says how to install them all.
    """
    for name in ("arm-none-eabi-gcc", "arm-none-eabi-nm", "arm-none-eabi-objdump", "qemu-system-arm"):
        program(name)
    specs = run_program([program("arm-none-eabi-gcc"), "-print-file-name=nano.specs"]).stdout.strip()
    if not Path(specs).is_file():
        raise BackendUnavailable(f"newlib, the C library for Arm, is not installed: {INSTALL}")


def run_program(command: Sequence[str | Path], folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program with plain English messages; its exit status is the caller's to judge."""
    environment = os.environ | {"LC_ALL": "C"}
    arguments = [str(part) for part in command]
    return subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def read_image(tool: str, elf: Path, *arguments: str) -> str:
    """Give what a tool of the toolchain prints about an image."""
    done = run_program([program(tool), *arguments, elf])
    if done.returncode:
        raise RuntimeError(f"{tool} can't read {elf}: {done.stderr.strip()}")
    return done.stdout


@functools.cache
def versions() -> dict[str, str]:
    """Give the versions of compiler and emulator.

    Raises:
        BackendUnavailable: one of them is not installed.
    """
    first = {
        name: run_program([program(name), "--version"]).stdout.partition("\n")[0]
        for name in ("arm-none-eabi-gcc", "qemu-system-arm")
    }
    return {name: line.partition("version ")[2] or line.split(") ")[-1] for name, line in first.items()}


def build(
    sources: Sequence[Path],
    board: Board,
    folder: Path,
    include: Sequence[Path] = (),
    flags: Sequence[str] | None = None,
) -> Firmware:
    """Compile and link a model's C sources with start-up code and harness.

    An image that is too large for the board is linked for all of the emulated board's memory instead, so that its
    figures are known all the same; the linker's own overflow stands in the result.

    Args:
        sources: C files that define ``model_init`` and ``model_invoke``.
        board: its flash, RAM and stack are the linker's limits.
        folder: where ``firmware.elf``, ``firmware.map`` and the linker script go.
        include: folders with headers; one has ``model.h`` with ``MODEL_INPUT_SIZE`` and ``MODEL_OUTPUT_SIZE`` (bytes).
        flags: optimization for the model's sources, in place of the core's own.

    Raises:
        BackendUnavailable: no cross compiler or no C library for it.
        Refusal: the image is larger than the emulated board's memory as well.
        RuntimeError: the compiler or linker refuses the sources, which is a bug of whatever wrote them.
    """
    require_toolchain()
    core = board.emulated
    optimize = core.optimization if flags is None else flags
    timer = f"-DHARNESS_TIMER={core.timer:#x}"
    objects = [
        _compile(BOARD_FILES / "startup.c", core, (), FREESTANDING),
        _compile(BOARD_FILES / "harness.c", core, (), (*FREESTANDING, timer)),
        *(_compile(source, core, include, optimize) for source in (BOARD_FILES / "buffers.c", *sources)),
    ]
    elf = folder / "firmware.elf"
    overflow = _link(objects, core, elf, linker_script(board))
    if overflow and _link(objects, core, elf, linker_script(board, core.flash.size, core.ram.size)):
        listed = " and ".join(f"{region} by {excess} bytes" for region, excess in overflow.items())
        raise Refusal(f"the firmware overflows {listed}, and is too large for the emulated {core.name} too")
    return Firmware(elf, board, _symbols(elf), overflow)


def _compile(source: Path, core: Core, include: Sequence[Path], flags: Sequence[str]) -> Path:
    compiler = program("arm-none-eabi-gcc")
    arguments = [*core.flags, *COMPILE_FLAGS, *flags]
    content = source.read_bytes()
    headers = dict(_headers(content, [source.parent, *include]))

    def compile_into(target: Path) -> None:
        folders = [f"-I{folder}" for folder in include]
        done = run_program([compiler, *arguments, *folders, "-c", source, "-o", target])
        if done.returncode:
            raise RuntimeError(f"{source.name} does not compile for {core.name}:\n{done.stderr[-4000:]}")

    parts: list[bytes | str] = [versions()["arm-none-eabi-gcc"], *arguments, content]
    parts += [part for name, text in sorted(headers.items()) for part in (name, text)]
    return built_once(f"{source.stem}.o", parts, compile_into)


def _headers(
    content: bytes, folders: Sequence[Path], seen: frozenset[str] = frozenset()
) -> Iterator[tuple[str, bytes]]:
    """Find the project's own headers that a source includes, each with its content."""
    for name in (match.decode() for match in _INCLUDE.findall(content)):
        path = next((folder / name for folder in folders if (folder / name).is_file()), None)
        if path is not None and name not in seen:
            text = path.read_bytes()
            yield name, text
            yield from _headers(text, folders, seen | {name})


def linker_script(board: Board, flash: int | None = None, ram: int | None = None, outside: str = "*harness*.o") -> str:
    """Write the linker script of a board.

    Args:
        board: its flash, RAM and stack.
        flash: bytes, in place of the board's own.
        ram: bytes, in place of the board's own.
        outside: the object files that are no part of the firmware, and lie in memory that only the emulated board has.
    """
    core = board.emulated
    return string.Template((BOARD_FILES / "firmware.ld").read_text(encoding="utf-8")).substitute(
        flash_origin=hex(core.flash.origin),
        flash_size=board.flash if flash is None else flash,
        ram_origin=hex(core.ram.origin),
        ram_size=board.ram if ram is None else ram,
        host_origin=hex(core.host.origin),
        host_size=core.host.size,
        stack_size=board.stack,
        outside=outside,
    )


def _link(objects: Sequence[Path], core: Core, elf: Path, script_text: str) -> dict[str, int]:
    script = elf.with_name("firmware.ld")
    script.write_text(script_text, encoding="utf-8")
    arguments = [*core.flags, *LINK_FLAGS, f"-Wl,-Map={elf.with_suffix('.map')}"]
    done = run_program([program("arm-none-eabi-gcc"), *arguments, "-T", script, "-o", elf, *objects])
    overflow = {region.lower(): int(excess) for region, excess in _OVERFLOW.findall(done.stderr)}
    if done.returncode and not overflow:
        raise RuntimeError(f"the firmware does not link for {core.name}:\n{done.stderr[-4000:]}")
    return overflow


def _symbols(elf: Path) -> dict[str, int]:
    lines = (line.split() for line in read_image("arm-none-eabi-nm", elf).splitlines())
    return {fields[2]: int(fields[0], 16) for fields in lines if len(fields) == 3}
