"""Runs a ``.tflite`` file on examples by tflite-micro's interpreter: a script of its own, which may die alone.

Called with a folder that holds ``model.tflite`` and ``inputs.npz`` (int8, the file's shapes, examples first); it writes
``outputs.npz`` and ``arena.txt``. Imports nothing of autoshrink.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from tflite_micro import runtime

_FIRST_ARENA = 1 << 16
_LARGEST_ARENA = 1 << 30


def _interpreter(model: bytes) -> tuple[runtime.Interpreter, int]:
    """Open the model with the smallest arena, of those that are a power of two, in which it fits."""
    arena = _FIRST_ARENA
    while True:
        try:
            return runtime.Interpreter.from_bytes(model, arena_size=arena), arena
        except RuntimeError:
            arena *= 2
            if arena > _LARGEST_ARENA:
                raise


def main(folder: Path) -> None:
    """Run every example once."""
    interpreter, arena = _interpreter((folder / "model.tflite").read_bytes())
    with np.load(folder / "inputs.npz", allow_pickle=False) as file:
        inputs = [file[f"arr_{index}"] for index in range(len(file.files))]
    outputs: list[np.ndarray] = []
    for rows in zip(*inputs, strict=True):
        for index, row in enumerate(rows):
            interpreter.set_input(row, index)
        interpreter.invoke()
        outputs.append(np.array(interpreter.get_output(0)))
    np.savez(folder / "outputs.npz", output=np.stack(outputs))
    (folder / "arena.txt").write_text(str(arena))


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except RuntimeError as error:  # the interpreter has said why on the same stream
        sys.exit(str(error))
