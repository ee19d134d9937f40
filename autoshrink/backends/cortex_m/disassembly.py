"""The instructions of a firmware image, as the toolchain disassembles them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from autoshrink.backends.cortex_m.cores import CoreName
from autoshrink.backends.cortex_m.toolchain import read_image

__all__ = ["Instruction", "disassemble"]

_LINE = re.compile(r"^\s*([0-9a-f]+):\t([0-9a-f ]+?)\s*\t([^\s.]\S*)(?:\t(.*))?$")
_NUMBERS = {"sb": 9, "sl": 10, "fp": 11, "ip": 12, "sp": 13, "lr": 14, "pc": 15}
_REGISTER = re.compile(r"\b(?:r(\d+)|(sb|sl|fp|ip|sp|lr|pc))\b")


class Instruction(NamedTuple):
    """One instruction: mnemonic and operands as the disassembler writes them, and its bytes."""

    mnemonic: str
    operands: str
    size: int

    @property
    def registers(self) -> tuple[int, ...]:
        """Number of each core register that is written in the operands, in order."""
        return tuple(_number(match) for match in _REGISTER.finditer(self.operands))

    @property
    def listed(self) -> tuple[int, ...]:
        """Number of each register in the braces: ``{r4-r6, lr}`` is 4, 5, 6, 14; floating-point ones count too."""
        _, _, braces = self.operands.partition("{")
        found: list[int] = []
        for part in filter(None, (part.strip() for part in braces.partition("}")[0].split(","))):
            first, _, last = (_plain(name) for name in part.partition("-"))
            found.extend(range(first, last + 1) if last >= 0 else [first])
        return tuple(found)


def disassemble(elf: Path, core: CoreName) -> Mapping[int, Instruction]:
    """Disassemble an image's code: address → instruction, in the order of addresses."""
    # Without its name, the disassembler does not know the newest architecture's instructions.
    architecture = ("-m", "armv8.1-m.main") if core == "cortex-m55" else ()
    found: dict[int, Instruction] = {}
    for line in read_image("arm-none-eabi-objdump", elf, "-d", "-z", *architecture).splitlines():
        match = _LINE.match(line)
        if match is not None:
            size = len(match[2].replace(" ", "")) // 2
            found[int(match[1], 16)] = Instruction(match[3], (match[4] or "").partition("@")[0].strip(), size)
    return dict(sorted(found.items()))


def _number(match: re.Match[str]) -> int:
    return int(match[1]) if match[1] else _NUMBERS[match[2]]


def _plain(name: str) -> int:
    if name in _NUMBERS:
        return _NUMBERS[name]
    digits = name.strip(" rsdq-")
    return int(digits) if digits else -1
