"""The sensitivity table of a target's model, by itself: no search, no device."""

from __future__ import annotations

import torch

from autoshrink.core import Sensitivity, Target
from autoshrink.search.work import workload_of
from autoshrink.techniques.sensitivity import sensitivity_of

__all__ = ["table_of"]


def table_of(target: Target) -> Sensitivity:
    """Load a target's model and data, and measure how much each layer bears.

    Raises:
        SpecError: model, weights, data or metric can't be used.
    """
    torch.set_num_threads(1)  # as in a search: the same arithmetic on every machine
    return sensitivity_of(workload_of(target), target.search.seed)
