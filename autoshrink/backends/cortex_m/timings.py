"""What one instruction costs on each core, at zero wait states.

The tables of Cortex-M0+, M3 and M4 are those of Arm's Technical Reference Manuals, without anything fitted; where a
manual gives a range, its middle is taken. Cortex-M33, M7 and M55 issue some instructions in pairs, which no manual
describes per instruction: they are the M4's cycles times one factor, from benchmarks that were published for both.

References:
    Cortex-M0+ TRM (DDI 0484), 3.3; Cortex-M3 TRM (100165), 3.3; Cortex-M4 TRM (100166), 3.3: instruction set summary.
    Cortex-M55: Software Optimization Guide (102692): two of the four beats of a vector instruction in one cycle, and
    neighbours overlap where one accesses memory and the other computes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from autoshrink.backends.cortex_m.cores import CoreName
from autoshrink.backends.cortex_m.disassembly import Instruction

__all__ = ["TIMINGS", "Kind", "Timing", "classify", "cost", "penalty"]

Kind = Literal[
    "plain", "branch", "call", "indirect", "loop", "load", "store", "load_double", "store_double", "load_many",
    "store_many", "accumulate", "long_multiply", "long_accumulate", "divide", "special", "float", "float_accumulate",
    "float_divide", "vector", "vector_memory",
]  # fmt: skip

_CONDITION = "(?:eq|ne|cs|hs|cc|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)?"
_MNEMONICS: tuple[tuple[Kind, str], ...] = (
    ("branch", f"b{_CONDITION}|cbn?z"),
    ("call", "bl"),
    ("indirect", f"b(?:l?x|xns|lxns){_CONDITION}|tb[bh]"),
    ("loop", r"(?:le|wls|dls)(?:tp)?"),
    ("load_double", "ldrd.*"),
    ("store_double", "strd.*"),
    ("load_many", "(?:pop|ldm|vldm|vpop).*"),
    ("store_many", "(?:push|stm|vstm|vpush).*"),
    ("load", "ldr.*"),
    ("store", "str.*"),
    ("long_accumulate", "(?:[su]mlal|umaal|smlald|smlsld).*"),
    ("long_multiply", "[su]mull.*"),
    ("accumulate", "ml[as].*"),
    ("divide", "[su]div.*"),
    ("special", "mrs|msr|dsb|dmb|isb"),
    ("float_divide", r"(?:vdiv|vsqrt).*"),
    ("float_accumulate", r"(?:vn?ml[as]|vfn?m[as])\w*\.f.*"),
)
_PATTERNS = tuple((kind, re.compile(f"(?:{mnemonics})(?:$|\\.)")) for kind, mnemonics in _MNEMONICS)
_VECTOR = re.compile(r"\bq\d")
_VECTOR_MEMORY = re.compile(r"v(?:ld|st)[r1-4]")


@dataclass(frozen=True)
class Timing:
    """Cycles of one core. A kind that isn't named takes one."""

    load: float = 2
    load_after_load: float = 1
    """Of a load right after another: their address and data phases overlap."""
    store: float = 1
    """The data phase goes on beside the next instruction."""
    memory_setup: float = 1
    """Of a load or store of several registers, besides one for each register."""
    branch: float = 2
    """More for a branch that is taken, to refill the pipeline."""
    call: float = 2
    """More for a call, and for a return that is a load of several registers."""
    indirect: float = 2
    loop: float = 2
    accumulate: float = 1
    long_multiply: float = 1
    long_accumulate: float = 1
    divide: float = 7
    special: float = 2
    float_accumulate: float = 3
    float_divide: float = 14
    vector: float = 2
    vector_overlapped: float = 1
    """Of a vector instruction after one of the other kind (memory, arithmetic)."""
    factor: float = 1.0
    """Times the cycles of everything but vector instructions and wait states."""
    band: float = 0.20
    """Of what is modelled: the share by which published figures may lie beside it."""
    per_instruction: float = 1.5
    """Cycles where instructions can't be told apart."""


_M4 = Timing()
TIMINGS: dict[CoreName, Timing] = {
    "cortex-m0plus": Timing(
        load_after_load=2, store=2, branch=1, call=2, indirect=1, special=3, band=0.25, per_instruction=1.4
    ),
    "cortex-m3": replace(_M4, accumulate=2, long_multiply=4, long_accumulate=5.5, band=0.25),
    "cortex-m4": _M4,
    "cortex-m7": replace(_M4, factor=0.56, band=0.40, per_instruction=0.85),
    "cortex-m33": replace(_M4, factor=0.79, band=0.25, per_instruction=1.2),
    "cortex-m55": replace(_M4, factor=0.80, loop=0, band=0.50, per_instruction=1.4),
}


def classify(instruction: Instruction) -> Kind:
    """Say which kind of instruction this is for a timing."""
    mnemonic, operands = instruction.mnemonic, instruction.operands
    if mnemonic.startswith("v") and _VECTOR.search(operands):
        return "vector_memory" if _VECTOR_MEMORY.match(mnemonic) else "vector"
    for kind, pattern in _PATTERNS:
        if pattern.match(mnemonic):
            return "indirect" if kind == "load" and instruction.registers[:1] == (15,) else kind
    if mnemonic.startswith(("vldr", "vstr")):
        return "load" if mnemonic.startswith("vldr") else "store"
    return "float" if mnemonic.startswith("v") else "plain"


def cost(timing: Timing, kind: Kind, instruction: Instruction, before: Kind | None) -> float:
    """Give the cycles of one execution that does not branch away; ``before`` is the instruction that ran before."""
    match kind:
        case "load":
            return timing.factor * (timing.load_after_load if before == "load" else timing.load)
        case "load_double" | "store_double":
            return timing.factor * (timing.memory_setup + 2)
        case "load_many" | "store_many":
            return timing.factor * (timing.memory_setup + max(len(instruction.listed), 1))
        case "vector" | "vector_memory":
            overlapped = before in ("vector", "vector_memory") and before != kind
            return timing.vector_overlapped if overlapped else timing.vector
        case "store" | "accumulate" | "long_multiply" | "long_accumulate" | "divide" | "special":
            return timing.factor * float(getattr(timing, kind))
        case "float_accumulate" | "float_divide":
            return timing.factor * float(getattr(timing, kind))
        case _:
            return timing.factor


def penalty(timing: Timing, kind: Kind) -> float:
    """Give the cycles that one execution takes more when it branches away."""
    match kind:
        case "call" | "load_many":
            return timing.factor * timing.call
        case "indirect" | "loop":
            return timing.factor * float(getattr(timing, kind))
        case _:
            return timing.factor * timing.branch
