"""scikit-learn's handwritten digits: 1797 images of 8×8 pixels, scaled to 0…1."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor

VALIDATION, TEST, SEED = 300, 360, 0


def splits() -> dict[str, tuple[Tensor, Tensor]]:
    """Give the splits, stratified and the same every time: 1137 to train, 300 to validate, 360 to test."""
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    rest, test = train_test_split(np.arange(len(labels)), test_size=TEST, stratify=labels, random_state=SEED)
    train, validation = train_test_split(rest, test_size=VALIDATION, stratify=labels[rest], random_state=SEED)
    parts = {"train": train, "validation": validation, "test": test}
    return {
        name: (torch.from_numpy(images[index]), torch.from_numpy(labels[index].astype(np.int64)))
        for name, index in parts.items()
    }
