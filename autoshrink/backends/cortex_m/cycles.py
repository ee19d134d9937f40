"""Cycles, latency and energy of one inference, modelled from the exact count of each instruction."""

from __future__ import annotations

from dataclasses import dataclass

from autoshrink.backends.cortex_m.boards import Board
from autoshrink.backends.cortex_m.counting import Histogram
from autoshrink.backends.cortex_m.disassembly import disassemble
from autoshrink.backends.cortex_m.emulate import Emulated
from autoshrink.backends.cortex_m.timings import TIMINGS, Kind, Timing, classify, cost, penalty
from autoshrink.backends.cortex_m.toolchain import Firmware, versions
from autoshrink.core import Measurement, Metric

__all__ = ["Cycles", "estimate", "measurement"]

_UNCOUNTED_BAND = 0.20
"""More band where instructions could not be told apart."""


@dataclass(frozen=True)
class Cycles:
    """Modelled cycles of one inference."""

    core: float
    """Of the instructions, at zero wait states."""
    flash: float
    """Waited for the flash, behind cache and prefetcher."""
    band: float
    """The share of the sum by which the real device may be off."""

    @property
    def value(self) -> float:
        """The most likely figure."""
        return self.core + self.flash

    def metric(self, unit: str, per_cycle: float, band: float = 0.0) -> Metric:
        """Turn cycles into another figure; its band is that of the cycles and of the constant together."""
        value = self.value * per_cycle
        return Metric(
            value=value,
            unit=unit,
            low=value * max(0.0, 1 - self.band) * (1 - band),
            high=value * (1 + self.band) * (1 + band),
            origin="modelled",
        )


def estimate(firmware: Firmware, emulated: Emulated) -> Cycles:
    """Model the cycles of the inference that was counted."""
    board = firmware.board
    timing = TIMINGS[board.core]
    if emulated.histogram is None:
        return Cycles(emulated.instructions * timing.per_instruction, 0.0, timing.band + _UNCOUNTED_BAND)
    core = _core_cycles(firmware, emulated.histogram, timing)
    waits = sum(count.waits for count in emulated.histogram.values())
    return Cycles(core, waits * board.flash_access.wait, timing.band)


def measurement(firmware: Firmware, emulated: Emulated) -> Measurement:
    """Give every figure of a firmware: latency and energy are modelled, everything else is emulated and exact.

    Where the linker said that the image overflows the board's memory, size or memory is above the board's limit by as
    much as it said, the stack that is kept included.
    """
    board, overflow = firmware.board, firmware.overflow
    cycles = estimate(firmware, emulated)
    memory = max(emulated.ram_bytes, board.ram + overflow["ram"]) if "ram" in overflow else emulated.ram_bytes
    size = max(emulated.flash_bytes, board.flash + overflow["flash"]) if "flash" in overflow else emulated.flash_bytes
    metrics = {
        "latency": cycles.metric("s", 1 / board.clock),
        "memory": Metric.exact(memory, "B", "emulated"),
        "size": Metric.exact(size, "B", "emulated"),
        "instructions": Metric.exact(emulated.instructions, "1", "emulated"),
        "stack": Metric.exact(emulated.stack_bytes, "B", "emulated"),
        "cycles": cycles.metric("1", 1.0),
    }
    if board.energy is not None and board.energy.per_cycle is not None:
        metrics["energy"] = cycles.metric("J", board.energy.per_cycle, board.energy.band)
    return Measurement(metrics=metrics, conditions=_conditions(board, emulated, cycles))


def _core_cycles(firmware: Firmware, histogram: Histogram, timing: Timing) -> float:
    instructions = disassemble(firmware.elf, firmware.board.core)
    total, follows, before = 0.0, -1, None
    for address, count in histogram.items():
        instruction = instructions[address]
        kind: Kind = classify(instruction)
        previous = before if follows == address else None
        total += count.executed * cost(timing, kind, instruction, previous) + count.taken * penalty(timing, kind)
        follows, before = address + instruction.size, kind
    return total


def _conditions(board: Board, emulated: Emulated, cycles: Cycles) -> dict[str, object]:
    conditions: dict[str, object] = {
        "core": board.core,
        "clock": board.clock,
        "emulator": f"QEMU {versions()['qemu-system-arm']}, {board.emulated.machine}",
        "compiler": f"arm-none-eabi-gcc {versions()['arm-none-eabi-gcc']}",
        "counting": emulated.counting,
        "cycle_model": f"±{cycles.band:.0%}, {cycles.flash / cycles.value:.0%} waiting for the flash",
        "flash_access": board.flash_access.source,
    }
    if board.energy is not None:
        conditions["energy"] = board.energy.source
    return conditions
