"""The text of ``model.h`` and ``model.c``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from autoshrink.backends.cortex_m.generate.lower import Program
from autoshrink.backends.cortex_m.generate.steps import Constant

__all__ = ["header", "source"]

_WIDTH = 120


def header(program: Program, arena: int, core: str) -> str:
    """Write ``model.h``."""
    given, made = program.given, program.made
    lines = [
        f"/* An int8 network, generated for {core}. */",
        "#ifndef MODEL_H",
        "#define MODEL_H",
        "",
        "#include <stdint.h>",
        "",
        "/* A real value is SCALE * (integer - ZERO_POINT). */",
    ]
    for name, tensor in (("INPUT", given), ("OUTPUT", made)):
        lines += [
            f"#define MODEL_{name}_SIZE {tensor.size} /* {' x '.join(map(str, tensor.shape))} */",
            f"#define MODEL_{name}_SCALE {np.float32(tensor.scale)!s}f",
            f"#define MODEL_{name}_ZERO_POINT ({tensor.zero_point})",
        ]
    lines += [
        f"#define MODEL_ARENA_SIZE {arena} /* bytes of RAM, besides input, output and stack */",
        f"#define MODEL_MACS {sum(step.macs for step in program.steps)}",
        "",
        "/* Both give 0. Input and output are the caller's, and must not overlap. */",
        "int model_init(void);",
        "int model_invoke(const int8_t *in, int8_t *out);",
        "",
        "#endif",
        "",
    ]
    return "\n".join(lines)


def source(program: Program, operands: Sequence[Mapping[str, str]], arena: int, core: str) -> str:
    """Write ``model.c``."""
    lines = [f"/* An int8 network, generated for {core}. */", '#include "model.h"', "", '#include "as_kernels.h"', ""]
    for step in program.steps:
        for constant in step.constants:
            lines += _constant(constant)
    if arena:
        lines += ["", "static int8_t arena[MODEL_ARENA_SIZE] __attribute__((aligned(16)));"]
    lines += [
        "",
        "int model_init(void)",
        "{",
        "    return 0;",
        "}",
        "",
        "int model_invoke(const int8_t *in, int8_t *out)",
        "{",
    ]
    for step, named in zip(program.steps, operands, strict=True):
        lines += [f"    /* {step.title} */", f"    {step.call.format(**named)}"]
    return "\n".join([*lines, "    return 0;", "}", ""])


def _constant(constant: Constant) -> list[str]:
    if isinstance(constant.values, str):
        return [f"static const {constant.ctype} {constant.name} = {constant.values};"]
    numbers = constant.values.reshape(-1)
    hexadecimal = constant.ctype == "uint32_t"
    words = [f"0x{number:08x}" if hexadecimal else str(number) for number in numbers.tolist()]
    lines, line = [f"static const {constant.ctype} {constant.name}[{len(words)}] = {{"], "   "
    for word in words:
        if len(line) + len(word) + 2 > _WIDTH:
            lines.append(line)
            line = "   "
        line += f" {word},"
    return [*lines, line, "};"]
