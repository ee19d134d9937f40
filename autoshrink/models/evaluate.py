"""What a torch model answers."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from autoshrink.models.splits import Split, forward

__all__ = ["outputs", "predict"]


def outputs(model: nn.Module, split: Split, batch: int = 256) -> Tensor:
    """Run a model on every example, in eval mode and without gradients.

    Args:
        model: on the CPU; its mode is as before afterwards.
        split: the examples.
        batch: how many are run at once.

    Returns:
        The outputs, shape (examples, …).
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.inference_mode():
            parts = [forward(model, rows) for rows in split.batches(batch)]
    finally:
        for module, training in modes.items():
            module.training = training
    return torch.cat(parts)  # outside inference mode, so that it can be used in training


def predict(model: nn.Module, split: Split, batch: int = 256) -> np.ndarray:
    """Run a model on every example, as `outputs`, and give an array."""
    return outputs(model, split, batch).numpy()
