"""Run a file in this process, to check it and to find ranges."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

    from autoshrink.models.splits import Split

__all__ = ["interpreter", "run"]


def interpreter(content: bytes, *, keep: bool = False) -> Interpreter:
    """Open a file.

    Args:
        content: the file's.
        keep: whether the values of all tensors can be looked at after a run.
    """
    from ai_edge_litert.interpreter import Interpreter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that looking at all tensors takes memory
        opened = Interpreter(model_content=content, num_threads=1, experimental_preserve_all_tensors=keep)
    opened.allocate_tensors()
    return opened


def run(opened: Interpreter, one: Split) -> list[np.ndarray]:
    """Run one example.

    Returns:
        The outputs.
    """
    for port, array in zip(opened.get_input_details(), one.arrays(), strict=True):
        opened.set_tensor(port["index"], np.ascontiguousarray(array, port["dtype"]))
    opened.invoke()
    return [opened.get_tensor(port["index"]) for port in opened.get_output_details()]
