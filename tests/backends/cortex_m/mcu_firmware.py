"""Hand-written models as firmware, for tests that need no generator."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from autoshrink.backends.cortex_m.boards import Board, FlashAccess
from autoshrink.backends.cortex_m.toolchain import Firmware, build

CORES = ["cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55"]
HEADER = "#include <stdint.h>\nint model_init(void);\nint model_invoke(const int8_t *in, int8_t *out);\n"


def board(core: str, wait: float = 0, **access: object) -> Board:
    """Make a board with 1 MiB of flash and 256 KiB of RAM."""
    flash = FlashAccess(wait=wait, source="a test", **access)
    sizes = {"flash": 1 << 20, "ram": 256 << 10, "stack": 4096}
    return Board(name="test board", core=core, clock=100e6, flash_access=flash, energy=None, **sizes)


def weighted_sums(weights: np.ndarray) -> str:
    """Write a model in C: each output is one row of weights times the input, divided by 256."""
    rows, columns = weights.shape
    listed = ",".join(str(value) for value in weights.reshape(-1).tolist())
    return f"""{HEADER}
    static const int8_t weights[{rows * columns}] = {{{listed}}};
    int model_init(void) {{ return 0; }}
    int model_invoke(const int8_t *in, int8_t *out)
    {{
        for (int row = 0; row < {rows}; row++) {{
            int32_t sum = 0;
            for (int i = 0; i < {columns}; i++)
                sum += weights[row * {columns} + i] * in[i];
            out[row] = (int8_t)(sum >> 8);
        }}
        return 0;
    }}"""


def firmware(source: str, folder: Path, core: str | Board, inputs: int = 1, outputs: int = 1) -> Firmware:
    """Build one C source for a core or a board."""
    (folder / "model.h").write_text(f"#define MODEL_INPUT_SIZE {inputs}\n#define MODEL_OUTPUT_SIZE {outputs}\n{HEADER}")
    (folder / "model.c").write_text(source)
    made = core if isinstance(core, Board) else board(core)
    return build([folder / "model.c"], made, folder, [folder])
