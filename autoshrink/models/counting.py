"""Counts of a model that are no measurement: multiply-accumulates and weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from autoshrink.models.splits import Split, forward

__all__ = ["count", "module_macs"]


def count(model: nn.Module, example: Split) -> dict[str, float]:
    """Count what a model computes for one example, and what it stores.

    Args:
        model: in eval mode, on the CPU.
        example: one example.

    Returns:
        ``macs`` of convolutions, matrix products and attention; ``parameters``; ``nonzero``, those that are not zero.
    """
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), _plain_kernels(), counter:
        forward(model, example)
    parameters = [parameter.detach() for parameter in model.parameters()]
    return {
        "macs": counter.get_total_flops() / 2,
        "parameters": float(sum(parameter.numel() for parameter in parameters)),
        "nonzero": float(sum(int(parameter.count_nonzero()) for parameter in parameters)),
    }


def module_macs(model: nn.Module, example: Split) -> dict[str, float]:
    """Count the multiply-accumulates of each module for one example, by name; those of the whole model under ``""``."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), _plain_kernels(), counter:
        forward(model, example)
    found = {"": counter.get_total_flops() / 2}
    for path, by_operator in counter.get_flop_counts().items():
        _, _, name = path.partition(".")
        if name:
            found[name] = sum(by_operator.values()) / 2
    return found


@contextmanager
def _plain_kernels() -> Iterator[None]:
    # Fused kernels for attention and recurrent layers hide their matrix products from the counter.
    mha, mkldnn = torch.backends.mha, torch.backends.mkldnn
    fastpath, fused = mha.get_fastpath_enabled(), bool(mkldnn.enabled)
    mha.set_fastpath_enabled(False)
    setattr(mkldnn, "enabled", False)  # noqa: B010 (a property that torch types as its descriptor)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        mha.set_fastpath_enabled(fastpath)
        setattr(mkldnn, "enabled", fused)  # noqa: B010
