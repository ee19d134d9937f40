"""What a search's worker does beside a measurement: prunes, trains and exports the example, again and again.

Run by stopwatch.py as a process of its own: ``stopwatch_load.py NUMBER`` prints ``ready`` when the training begins.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import torch

from autoshrink.core import Recipe, Target
from autoshrink.search.work import compress_recipe, workload_of

TARGET = Path(__file__).resolve().parents[1] / "examples" / "fashion_mnist" / "target.yaml"
RATIOS = (0.1, 0.5, 0.3, 0.7)


def recipe(number: int) -> Recipe:
    """Give the recipe of the worker's next candidate."""
    steps = [
        {"kind": "channel_pruning", "ratio": RATIOS[number % len(RATIOS)]},
        {"kind": "distillation", "epochs": 1},
        {"kind": "quantization", "scheme": "static", "weight_bits": 8},
    ]
    return Recipe.model_validate({"steps": steps})


def main(first: int) -> None:
    """Work until the process is ended."""
    torch.set_num_threads(1)
    target = Target.read(TARGET)
    len(workload_of(target).teacher)
    print("ready", flush=True)
    for number in itertools.count(first):
        compress_recipe(target, recipe(number))


if __name__ == "__main__":
    main(int(sys.argv[1]))
