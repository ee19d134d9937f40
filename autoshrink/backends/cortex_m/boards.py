"""A microcontroller board, read from a hardware profile."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from autoshrink.backends.cortex_m.cores import CORES, Core, CoreName
from autoshrink.core import Energy, Hardware
from autoshrink.core.documents import Document, Frozen
from autoshrink.core.problems import shown
from autoshrink.core.quantities import Bytes

__all__ = ["Accelerator", "Board", "FlashAccess", "Hertz", "Npu", "read_board", "read_npu"]

Accelerator = Literal[
    "ethos-u55-32", "ethos-u55-64", "ethos-u55-128", "ethos-u55-256", "ethos-u65-256", "ethos-u65-512"
]
_HERTZ = {"kHz": 1e3, "MHz": 1e6, "GHz": 1e9}


def _hertz(text: object) -> float:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(kHz|MHz|GHz)\s*", text) if isinstance(text, str) else None
    if match is None or float(match[1]) == 0:
        raise ValueError(
            f"{shown(text)} is not a clock: write it with its unit, such as '64 MHz' ({', '.join(_HERTZ)})"
        )
    return float(match[1]) * _HERTZ[match[2]]


Hertz = Annotated[float, BeforeValidator(_hertz)]


class FlashAccess(Frozen):
    """What an access to flash costs at the board's clock: all from its documents, nothing fitted."""

    wait: Annotated[float, Field(ge=0, le=1000)]
    """Cycles that the core waits for an access that neither cache nor prefetcher hides."""
    line: Bytes = 16
    """Bytes that one access brings."""
    instruction_cache: Bytes | None = None
    data_cache: Bytes | None = None
    """None: each data read of the core is an access."""
    unified_cache: Bytes | None = None
    """In place of the two others: one cache for both."""
    prefetch: bool = False
    """Whether the line after the current one is fetched while its instructions run."""
    source: Annotated[str, Field(min_length=1)]

    @model_validator(mode="after")
    def _one_kind_of_cache(self) -> Self:
        if self.unified_cache is not None and (self.instruction_cache or self.data_cache) is not None:
            raise ValueError("give either a unified_cache or an instruction_cache and a data_cache")
        return self


class Board(Frozen):
    """One microcontroller: what its firmware must fit into, and what its cycle model needs."""

    name: str
    core: CoreName
    clock: float
    """Hertz."""
    flash: int
    """Bytes of flash, or of what stands for it."""
    ram: int
    """Bytes of RAM that a firmware can use."""
    stack: int
    """Bytes of RAM that are kept for the stack."""
    flash_access: FlashAccess
    energy: Energy | None

    @property
    def emulated(self) -> Core:
        """How this board's core is compiled for and emulated."""
        return CORES[self.core]


class Npu(Frozen):
    """A neural processing unit beside a Cortex-M, as Vela models it."""

    name: str
    accelerator: Accelerator
    clock: float
    """Hertz."""
    flash: int
    """Bytes."""
    ram: int
    """Bytes."""
    system_config: str
    memory_mode: str
    energy: Energy | None


class _BoardOptions(Document):
    core: CoreName
    clock: Hertz
    stack: Bytes = 4096
    flash: FlashAccess


class _NpuOptions(Document):
    accelerator: Accelerator
    clock: Hertz
    system_config: Annotated[str, Field(min_length=1)]
    memory_mode: Annotated[str, Field(min_length=1)]


def read_board(hardware: Hardware) -> Board:
    """Read the board that a profile describes.

    Raises:
        SpecError: a key of ``options`` or ``limits`` is missing, unknown or out of range; the message names it.
    """
    flash, ram = _limits(hardware)
    options = _BoardOptions.parse(hardware.options, hardware.source.under(("options",)))
    core = CORES[options.core]
    for key, size, region in (("size", flash, core.flash), ("memory", ram, core.ram)):
        if size > region.size:
            raise hardware.source.error(
                ("limits", key), f"the emulated {core.name} has no more than {region.size // 2**20} MiB"
            )
    if options.stack >= ram:
        raise hardware.source.error(("options", "stack"), "the stack is as large as the RAM")
    return Board(
        name=hardware.name,
        core=options.core,
        clock=options.clock,
        flash=flash,
        ram=ram,
        stack=-(-int(options.stack) // 8) * 8,
        flash_access=options.flash,
        energy=_energy(hardware),
    )


def read_npu(hardware: Hardware) -> Npu | None:
    """Read the NPU that a profile describes; nothing if it describes a plain microcontroller.

    Raises:
        SpecError: a key of ``options`` or ``limits`` is missing, unknown or out of range; the message names it.
    """
    if "accelerator" not in hardware.options:
        return None
    flash, ram = _limits(hardware)
    options = _NpuOptions.parse(hardware.options, hardware.source.under(("options",)))
    return Npu(name=hardware.name, flash=flash, ram=ram, energy=_energy(hardware), **options.model_dump())


def _limits(hardware: Hardware) -> tuple[int, int]:
    limits = hardware.limits
    if limits.size is None:
        raise hardware.source.error(("limits", "size"), "a microcontroller's profile says how much flash it has")
    if limits.memory is None:
        raise hardware.source.error(("limits", "memory"), "a microcontroller's profile says how much RAM it has")
    return int(limits.size), int(limits.memory)


def _energy(hardware: Hardware) -> Energy | None:
    if hardware.energy is not None and hardware.energy.per_cycle is None:
        raise hardware.source.error(("energy", "power"), "a microcontroller's energy is given as per_cycle (0.37 nJ)")
    return hardware.energy
