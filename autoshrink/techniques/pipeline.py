"""The pipeline: applies a recipe's techniques to a copy of the original model."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autoshrink.core import Encoding, Recipe
from autoshrink.techniques.base import Context, Stage
from autoshrink.techniques.registry import techniques_of

if TYPE_CHECKING:
    from torch import nn

    from autoshrink.models.workload import Workload

__all__ = ["Compressed", "compress"]

_SECONDS = {Stage.STRUCTURE: "structure", Stage.RECOVERY: "train", Stage.ENCODING: "encode"}


@dataclass(frozen=True)
class Compressed:
    """A compressed model, ready to be exported.

    ``model`` is in eval mode, on the CPU and without parametrizations; ``encoding`` is what the backend has to do with
    it; ``facts`` are counts (MACs, parameters, non-zero weights); ``seconds`` is wall time by stage.
    """

    model: nn.Module
    encoding: Encoding
    facts: dict[str, float]
    seconds: dict[str, float]


def compress(recipe: Recipe, workload: Workload, seed: int = 0) -> Compressed:
    """Apply a recipe; the workload stays as it is, and the same seed gives the same model on one thread.

    Raises:
        Refusal: a technique can't be applied to this model.
        SpecError: the recipe names an unknown technique or setting, or a value out of its range.
    """
    import torch

    from autoshrink.models.counting import count
    from autoshrink.techniques._torch.layers import bake

    techniques = techniques_of(recipe)
    recovery = next((found for item in techniques if (found := item.recovery()) is not None), None)
    context = Context(workload, recovery, seed)
    # Parametrizations of the user's own are baked as well, and frozen weights are trained: the copy is a new model.
    model = bake(copy.deepcopy(workload.model)).requires_grad_(True).eval()
    encoding = Encoding()
    seconds = dict.fromkeys(_SECONDS.values(), 0.0)
    for item in techniques:
        begun = time.perf_counter()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = item.apply(model, context)
        encoding = item.encode(encoding, model)
        seconds[_SECONDS[item.stage]] += time.perf_counter() - begun
    model = bake(model).requires_grad_(False).eval()
    return Compressed(model, encoding, count(model, workload.example), seconds)
