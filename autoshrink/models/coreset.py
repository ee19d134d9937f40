"""A small part of the training split that stands for all of it, for trainings that only have to tell good from bad."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from autoshrink.models.splits import Split

__all__ = ["coreset"]

_FEWEST = 256
"""Examples below which nothing is left out."""
_GROUPS = 10
"""Strata of outputs that are no classes."""
_LARGEST = 20_000
"""Examples of one stratum that are clustered; of more, so many are drawn first."""


def coreset(train: Split, teacher: Tensor, share: float, seed: int) -> Tensor:
    """Choose examples by clustering what the original answers, each class with its share.

    Of every cluster the example nearest to its center is taken, so that rare kinds of answers are there and common ones
    are not there twice.

    Args:
        train: the training split.
        teacher: the original's outputs on it, shape (examples, …).
        share: the part to keep, 0…1.
        seed: of the clustering.

    Returns:
        The indices of the chosen examples in ascending order, shape (kept,).

    References:
        Har-Peled and Mazumdar 2004, "On Coresets for k-Means and k-Median Clustering"; Sener and Savarese 2018, "Active
        Learning for Convolutional Neural Networks: A Core-Set Approach" (in the space of a network's answers).
    """
    count = len(train)
    wanted = max(round(share * count), _FEWEST)
    if wanted >= count:
        return torch.arange(count)
    answers = teacher.detach().flatten(1).double().numpy()
    generator = np.random.default_rng(seed)
    chosen = []
    for stratum in _strata(train, answers):
        places = max(1, round(wanted * len(stratum) / count))
        chosen.append(_nearest(answers, stratum, places, generator))
    return torch.from_numpy(np.sort(np.concatenate(chosen)))


def _strata(train: Split, answers: np.ndarray) -> list[np.ndarray]:
    labels = train.labels
    if labels is not None and not labels.is_floating_point() and labels.dim() == 1:
        classes = labels.numpy()
    elif answers.shape[1] > 1:
        classes = answers.argmax(1)
    else:
        edges = np.quantile(answers[:, 0], np.linspace(0, 1, _GROUPS + 1)[1:-1])
        classes = np.searchsorted(edges, answers[:, 0])
    return [np.flatnonzero(classes == name) for name in np.unique(classes)]


def _nearest(answers: np.ndarray, stratum: np.ndarray, places: int, generator: np.random.Generator) -> np.ndarray:
    from sklearn.cluster import MiniBatchKMeans  # a second to import, and only a training needs it

    if len(stratum) > _LARGEST:
        stratum = generator.choice(stratum, _LARGEST, replace=False)
    if places >= len(stratum):
        return stratum
    points = answers[stratum]
    seed = int(generator.integers(2**31))
    centers = MiniBatchKMeans(places, n_init=1, max_iter=10, random_state=seed).fit(points).cluster_centers_
    taken = np.zeros(len(stratum), bool)
    for center in centers:
        distances = np.square(points - center).sum(1)
        distances[taken] = np.inf
        taken[distances.argmin()] = True
    return stratum[taken]
