"""Fashion-MNIST as Debian's package ``dataset-fashion-mnist`` installs it, normalized to float32."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor

FOLDER = Path("/usr/share/datasets/fashion-mnist")
MEAN, DEVIATION = 0.2860, 0.3530
"""Of the training images' pixels, scaled to 0…1."""
VALIDATION, RECOVERY = 6_000, 12_000
SEED = 0


def splits() -> dict[str, tuple[Tensor, Tensor]]:
    """Give the splits of a search.

    ``test`` is the official one (10 000). The official training images are cut into ``validation`` (6 000) and the
    54 000 that the model was trained on, of which ``train`` holds a stratified 12 000: enough to recover a compressed
    model, and short enough to do it for every candidate.
    """
    images, labels, validation, test = full()
    some, _ = train_test_split(np.arange(len(labels)), train_size=RECOVERY, stratify=labels, random_state=SEED)
    index = torch.from_numpy(np.sort(some))
    return {"train": (images[index], labels[index]), "validation": validation, "test": test}


def full() -> tuple[Tensor, Tensor, tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Give all 54 000 training images and their labels, the validation split and the test split."""
    images, labels = _pair("train")
    train, validation = train_test_split(
        np.arange(len(labels)), test_size=VALIDATION, stratify=labels, random_state=SEED
    )
    rest, held = torch.from_numpy(np.sort(train)), torch.from_numpy(np.sort(validation))
    return images[rest], labels[rest], (images[held], labels[held]), _pair("t10k")


def _pair(name: str) -> tuple[Tensor, Tensor]:
    images = _read(FOLDER / f"{name}-images-idx3-ubyte.gz", header=16).reshape(-1, 1, 28, 28)
    labels = _read(FOLDER / f"{name}-labels-idx1-ubyte.gz", header=8)
    pixels = (images.astype(np.float32) / np.float32(255) - np.float32(MEAN)) / np.float32(DEVIATION)
    return torch.from_numpy(pixels), torch.from_numpy(labels.astype(np.int64))


def _read(path: Path, header: int) -> np.ndarray:
    if not path.is_file():
        raise FileNotFoundError(
            f"Fashion-MNIST is not installed: no {path}. Install it with: apt-get install dataset-fashion-mnist"
        )
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), np.uint8, offset=header)
