"""Examples that can be seen as pictures."""

from __future__ import annotations

import io

import numpy as np

__all__ = ["thumbnail"]

_SMALLEST, _LARGEST, _SHOWN = 6, 4096, 96
_LONGEST = 4.0
"""Height over width, or the other way round, of what can be a picture: a signal in a few channels is none."""


def thumbnail(example: np.ndarray, low: float, high: float) -> bytes | None:
    """Draw one example as a small PNG file.

    Args:
        example: one input: (height, width), with one or three channels before or behind.
        low: what is black.
        high: what is white.

    Returns:
        The file's content; None for what has not the shape of a picture.
    """
    from matplotlib.image import imsave  # a second that only this needs

    pixels = _pixels(example)
    if pixels is None:
        return None
    step = -(-max(pixels.shape[:2]) // _SHOWN)
    scaled = np.clip((pixels[::step, ::step].astype(float) - low) / ((high - low) or 1.0), 0, 1)
    file = io.BytesIO()
    imsave(file, scaled, cmap="gray", vmin=0, vmax=1, format="png")
    return file.getvalue()


def _pixels(example: np.ndarray) -> np.ndarray | None:
    if example.ndim == 3 and example.shape[0] in (1, 3):
        example = np.moveaxis(example, 0, -1)
    if example.ndim == 3 and example.shape[2] == 1:
        example = example[:, :, 0]
    if example.ndim != 2 and not (example.ndim == 3 and example.shape[2] == 3):
        return None
    short, long = sorted(example.shape[:2])
    return example if _SMALLEST <= short and long <= _LARGEST and long <= _LONGEST * short else None
