"""The sensitivity table of a target's model, by itself: no search, no device."""

from __future__ import annotations

from pathlib import Path

from autoshrink.core import Sensitivity, Target
from autoshrink.search.cache import Cache
from autoshrink.search.reuse import Reuse
from autoshrink.search.work import sensitivity, workload_of

__all__ = ["table_of"]


def table_of(target: Target, root: Path) -> Sensitivity:
    """Load a target's model and data, and look up or measure how much each layer bears.

    Args:
        target: names model and data.
        root: the folder that holds all searches, which begin with the same table.

    Raises:
        SpecError: model, weights, data or metric can't be used.
    """
    reuse = Reuse(Cache(root, workload_of(target).key), "", target.search.seed)
    table = reuse.sensitivity()
    if table is None:
        table = sensitivity(target)
        reuse.keep_sensitivity(table)
    return table
