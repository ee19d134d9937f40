"""The pipeline: applies a recipe's techniques to a copy of the original model."""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from autoshrink.core import Encoding, Recipe
from autoshrink.techniques.base import Context, Stage, Technique
from autoshrink.techniques.registry import techniques_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from autoshrink.models.recovery import Rung
    from autoshrink.models.workload import Workload

__all__ = ["Compressed", "compress"]

_SECONDS = {Stage.STRUCTURE: "structure", Stage.RECOVERY: "train", Stage.ENCODING: "encode"}


@dataclass(frozen=True)
class Compressed:
    """A compressed model, ready to be exported.

    ``model`` is in eval mode, on the CPU and without parametrizations; ``encoding`` is what the backend has to do with
    it; ``facts`` are counts (MACs, parameters, non-zero weights); ``seconds`` is wall time by stage. ``recovered``
    holds the weights before the encoding, where a recovery step made them: recipes that differ in their encoding only
    share them, and so do those whose structure steps end at the same ``start``, a digest of names, shapes and values
    (None where known weights were put in their place).
    """

    model: nn.Module
    encoding: Encoding
    facts: dict[str, float]
    seconds: dict[str, float]
    recovered: Mapping[str, Tensor] | None = None
    start: str | None = None


def compress(
    recipe: Recipe,
    workload: Workload,
    seed: int = 0,
    rung: int | None = None,
    known: Mapping[str, Tensor] | None = None,
) -> Compressed:
    """Apply a recipe; the workload stays as it is, and the same seed gives the same model on one thread.

    Args:
        recipe: what to apply.
        workload: the original model and its data.
        seed: of everything that is drawn.
        rung: which recovery is done, counted from 1: the whole one by default; with 0 no gradient step is taken at all,
            which gives the shapes and number formats, and so the costs, of the recovered model; with a short one, what
            fine-tunes takes that rung's part of the training data.
        known: the weights that the same structure and this recovery gave earlier, instead of training them again.

    Raises:
        Refusal: a technique can't be applied to this model.
        SpecError: the recipe names an unknown technique or setting, or a value out of its range.
    """
    import torch

    from autoshrink.models.counting import count
    from autoshrink.models.recovery import RUNGS
    from autoshrink.techniques._torch.layers import bake

    length = RUNGS[-1 if rung is None else rung - 1] if rung != 0 else None
    techniques = [item for item in techniques_of(recipe) if length or item.stage is not Stage.RECOVERY]
    # Parametrizations of the user's own are baked as well, and frozen weights are trained: the copy is a new model.
    model = bake(copy.deepcopy(workload.model)).requires_grad_(True).eval()
    context = _context(techniques, workload, seed, length)
    last_shape = max((item for item in techniques if item.stage is Stage.STRUCTURE), key=techniques.index, default=None)
    encoding, recovered, start = Encoding(), known, None
    seconds = dict.fromkeys(_SECONDS.values(), 0.0)
    for item in techniques:
        begun = time.perf_counter()
        if item.stage is not Stage.STRUCTURE and start is None and known is None:
            start = _digest(model)
        if item.stage is Stage.RECOVERY and known is not None:
            model.load_state_dict(dict(known))
        else:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                # What comes after another technique may take its shapes from the weights that it is given.
                alone = known is not None and item is last_shape
                model = item.apply(model, replace(context, only_shapes=alone))
        if item.stage is Stage.RECOVERY:
            recovered = {name: value.detach().clone() for name, value in model.state_dict().items()}
        encoding = item.encode(encoding, model)
        seconds[_SECONDS[item.stage]] += time.perf_counter() - begun
    if start is None and known is None:
        start = _digest(model)
    model = bake(model).requires_grad_(False).eval()
    return Compressed(model, encoding, count(model, workload.example), seconds, recovered, start)


def _digest(model: nn.Module) -> str:
    found = hashlib.sha256()
    for name, value in model.state_dict().items():
        found.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        found.update(value.detach().contiguous().numpy().tobytes())
    return found.hexdigest()[:32]


def _context(techniques: list[Technique], workload: Workload, seed: int, rung: Rung | None) -> Context:
    recovery = next((found for item in techniques if (found := item.recovery()) is not None), None)
    if recovery is None or rung is None:
        return Context(workload, None, seed)
    return Context(workload.reduced(rung.share, seed), recovery, seed, rung)
