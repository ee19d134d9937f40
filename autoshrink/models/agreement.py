"""Whether a runtime answers as torch does, before anything is encoded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import nn

from autoshrink.core import Refusal
from autoshrink.models.splits import Split, forward

__all__ = ["check_agreement", "one_by_one", "without_fast_paths"]

_TOLERANCE = 1e-4
_CHECKED = 3


def check_agreement(model: nn.Module, batches: Iterable[Split], answers: Iterable[np.ndarray]) -> float:
    """Compare a runtime's answers with torch's.

    Args:
        model: in eval mode, on the CPU.
        batches: what was asked.
        answers: the first output for each batch.

    Returns:
        The largest difference, relative to the largest output: at most 1e-4.

    Raises:
        Refusal: the runtime answers something else.
    """
    worst = 0.0
    for batch, given in zip(batches, answers, strict=True):
        with torch.no_grad(), without_fast_paths():
            wanted = forward(model, batch).numpy()
        if given.shape != wanted.shape:
            raise Refusal(f"the exported graph gives the shape {given.shape} where torch gives {wanted.shape}")
        finite = np.isfinite(wanted)
        if not np.array_equal(np.isfinite(given), finite):
            raise Refusal("the exported graph gives infinities or NaN where torch does not, or the reverse")
        if finite.any():
            scale = 1 + float(np.abs(wanted[finite]).max())
            worst = max(worst, float(np.abs(given[finite] - wanted[finite]).max()) / scale)
    if worst > _TOLERANCE:
        raise Refusal(
            f"the exported graph differs from torch by {worst:.2g} (relative to its largest output, at most "
            f"{_TOLERANCE:g} is allowed)"
        )
    return worst


def one_by_one(example: Split, examples: Split) -> list[Split]:
    """Give the example that a model was traced with and three real ones, for a runtime that takes one at a time."""
    return [example, *(examples.rows(slice(at, at + 1)) for at in range(min(_CHECKED, len(examples))))]


@contextlib.contextmanager
def without_fast_paths() -> Iterator[None]:
    """Keep attention in plain operators: its fused path can't be exported."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
