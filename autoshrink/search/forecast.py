"""What a candidate's accuracy will be after all of its recovery, foretold from what is known of it so far."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["Clues", "Expected", "Forecast"]

_FEWEST = 4
"""Finished candidates below which nothing is concluded from them."""
_LEAST_ERROR = 1e-4
_PRIOR = 0.25
_UNKNOWN = 0.5
"""Standard deviation of the logarithm of an error, while nothing is known: a factor of 1.6 to either side."""


@dataclass(frozen=True)
class Clues:
    """What is known of a candidate: its accuracy after a rung of the recovery (0 is none), and counts."""

    rung: int
    accuracy: float | None
    facts: Mapping[str, float]
    size: float


@dataclass(frozen=True)
class Expected:
    """An accuracy that is foretold, with two standard deviations to the better and to the worse."""

    value: float
    best: float


class Forecast:
    """Learns how the error after a rung becomes the final one: a line through logarithms, for each rung.

    References:
        Baker et al. 2017, "Accelerating Neural Architecture Search using Performance Prediction" (early results as the
        features of a regression).
    """

    def __init__(self, ideal: float, original: Clues) -> None:
        """Begin with the original model.

        Args:
            ideal: the accuracy that nothing can surpass.
            original: what is known of the original, whose accuracy is that of its artifact.
        """
        self._ideal = ideal
        self._original = original
        self._seen: dict[int, list[tuple[list[float], float]]] = {}
        self._fits: dict[int, tuple[np.ndarray, np.ndarray, float]] = {}

    def learn(self, clues: Clues, final: float) -> None:
        """Take in what became of a candidate of which these clues were known."""
        if clues.accuracy is not None:
            self._seen.setdefault(clues.rung, []).append((self._features(clues), self._log_error(final)))
            self._fits.pop(clues.rung, None)

    def of(self, clues: Clues) -> Expected:
        """Foretell the accuracy after the whole recovery."""
        if clues.accuracy is None or len(self._seen.get(clues.rung, ())) < _FEWEST:
            return self._guess(clues)
        features = np.array(self._features(clues))
        weights, covariance, noise = self._fit(clues.rung)
        spread = math.sqrt(noise * (1 + features @ covariance @ features))
        mean = float(features @ weights)
        return Expected(self._accuracy(mean), self._accuracy(mean - 2 * spread))

    def _guess(self, clues: Clues) -> Expected:
        own = self._log_error(self._original.accuracy or self._ideal)
        known = self._log_error(clues.accuracy) if clues.accuracy is not None else own
        mean = own + _PRIOR * max(known - own, 0.0)
        return Expected(self._accuracy(mean), self._accuracy(min(mean, own) - _UNKNOWN))

    def _fit(self, rung: int) -> tuple[np.ndarray, np.ndarray, float]:
        # Ridge regression, that is, a normal prior on the weights around "the error stays the original's".
        if rung not in self._fits:
            rows, finals = zip(*self._seen[rung], strict=True)
            x, y = np.array(rows), np.array(finals)
            prior = np.zeros(x.shape[1])
            prior[0] = self._log_error(self._original.accuracy or self._ideal)
            strength = np.diag([0.01, *([0.1] * (x.shape[1] - 1))])
            covariance = np.linalg.inv(x.T @ x + strength)
            weights = prior + covariance @ x.T @ (y - x @ prior)
            residual = y - x @ weights
            # The prior counts as two candidates with a tenth of error, so that a few that agree prove little.
            noise = (float(residual @ residual) + 2 * 0.1**2) / max(len(y) - 1, 1)
            self._fits[rung] = weights, covariance, noise
        return self._fits[rung]

    def _features(self, clues: Clues) -> list[float]:
        base = self._original
        own = self._log_error(base.accuracy or self._ideal)
        shrunk = math.log(max(clues.facts.get("nonzero", 1.0), 1.0) / max(base.facts.get("nonzero", 1.0), 1.0))
        smaller = math.log(max(clues.size, 1.0) / max(base.size, 1.0))
        return [1.0, self._log_error(clues.accuracy or 0.0) - own, shrunk, smaller]

    def _log_error(self, accuracy: float) -> float:
        return math.log(max(self._ideal - accuracy, _LEAST_ERROR * max(abs(self._ideal), 1.0)))

    def _accuracy(self, log_error: float) -> float:
        return self._ideal - math.exp(log_error)
