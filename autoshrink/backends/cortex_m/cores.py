"""The cores that can be emulated: how to compile for them, and the memory of the emulated board."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["CORES", "Core", "CoreName", "Region"]

CoreName = Literal["cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55"]

_MIB = 1024 * 1024


@dataclass(frozen=True)
class Region:
    """A range of addresses, in bytes."""

    origin: int
    size: int


@dataclass(frozen=True)
class Core:
    """A core, its compiler flags, and the QEMU machine that runs it.

    Addresses differ from the real board's, which changes no instruction. Sizes are the real board's as long as the
    emulated one has as much.
    """

    name: CoreName
    flags: tuple[str, ...]
    machine: str
    flash: Region
    ram: Region
    host: Region
    """Memory that only the emulated board has, for the harness; the emulated core boots there or in ``flash``."""
    timer: int
    """Address of a free-running counter (the MPS2 board's FPGA I/O)."""
    timer_hz: int
    optimization: tuple[str, ...] = ("-O3",)
    """What made the generated kernels fastest, measured on DS-CNN and ResNet-8 (about 1 KiB larger than -O2)."""


def _mps2(
    name: CoreName,
    machine: str,
    *flags: str,
    host: int = 0x2100_0000,
    optimization: tuple[str, ...] = ("-O3",),
) -> Core:
    return Core(
        name,
        (f"-mcpu={name}", "-mthumb", *flags),
        machine,
        flash=Region(0x0000_0000, 4 * _MIB),
        ram=Region(0x2000_0000, 4 * _MIB),
        host=Region(host, 16 * _MIB),
        timer=0x4002_8018,
        timer_hz=25_000_000,
        optimization=optimization,
    )


CORES: dict[str, Core] = {
    core.name: core
    for core in (
        # QEMU has no Cortex-M0+ with enough memory: its code runs on a Cortex-M3 that traps unaligned access.
        # Its loads have no post-increment: a pointer for each operand would only take up its eight registers.
        _mps2("cortex-m0plus", "mps2-an385", optimization=("-O3", "-fno-ivopts")),
        _mps2("cortex-m3", "mps2-an385"),
        _mps2("cortex-m4", "mps2-an386", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"),
        _mps2("cortex-m7", "mps2-an500", "-mfpu=fpv5-d16", "-mfloat-abi=hard", host=0x6000_0000),
        Core(
            "cortex-m33",
            ("-mcpu=cortex-m33", "-mthumb", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard"),
            "mps2-an505",
            flash=Region(0x1000_0000, 4 * _MIB),
            ram=Region(0x3800_0000, 4 * _MIB),
            host=Region(0x8000_0000, 16 * _MIB),
            timer=0x5030_2018,
            timer_hz=20_000_000,
        ),
        # Its tightly coupled memories are small, so the firmware lies in DDR memory and only the harness in them.
        Core(
            "cortex-m55",
            ("-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard"),
            "mps3-an547",
            flash=Region(0x6000_0000, 64 * _MIB),
            ram=Region(0x7000_0000, 64 * _MIB),
            host=Region(0x1000_0000, _MIB // 2),
            timer=0x5930_2018,
            timer_hz=20_000_000,
        ),
    )
}
