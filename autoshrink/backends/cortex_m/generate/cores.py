"""Which kernels a core runs."""

from __future__ import annotations

from typing import Literal

from autoshrink.core import SpecError

__all__ = ["Kernels", "kernels_for"]

Kernels = Literal["scalar", "dsp", "mve"]
"""Armv6-M and Armv7-M, the DSP extension, the vector extension."""

_KERNELS: dict[str, Kernels] = {
    "m0plus": "scalar",
    "m3": "scalar",
    "m4": "dsp",
    "m4f": "dsp",
    "m7": "dsp",
    "m33": "dsp",
    "m55": "mve",
}


def kernels_for(core: str) -> Kernels:
    """Name the fastest kernels for a core: ``m4f`` or ``cortex-m4``, for example.

    Raises:
        SpecError: the core is unknown.
    """
    short = core.removeprefix("cortex-")
    if short not in _KERNELS:
        raise SpecError(f"core {core!r} is unknown; known are {', '.join(_KERNELS)}")
    return _KERNELS[short]
