"""The number formats that a model is stored and executed in, as a backend is asked for them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from autoshrink.core.documents import Frozen
from autoshrink.core.hardware import Bits, Scheme

__all__ = ["Calibration", "Encoding", "Granularity"]

Calibration = Literal["minmax", "percentile", "entropy"]
Granularity = Literal["per_channel", "per_tensor"]


class Encoding(Frozen):
    """Weights in ``weight_bits``, activations as the scheme says.

    ``float`` keeps 32 or 16 bits; ``static`` computes in int8 with calibrated activation ranges; ``dynamic`` finds the
    ranges while running; ``weight_only`` stores integers and computes in float.
    """

    scheme: Scheme = "float"
    weight_bits: Bits = 32
    calibration: Calibration = "minmax"
    granularity: Granularity = "per_channel"
    block_size: int = 32
    """Weights that share one scale in ``weight_only``."""
    codebook: int | None = None
    """Most entries of a weight codebook, stored as indices and codebook where that is smaller."""
    ranges: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """Input ranges by module name that quantization-aware training learned; they replace calibration."""
    kept: tuple[str, ...] = ()
    """Modules whose weights stay one step higher: in 8 bits beside 4, in half floats that compute in float beside 8."""

    def describe(self) -> str:
        """Print the encoding in a few words."""
        text = f"float{self.weight_bits}" if self.scheme == "float" else f"{self.scheme} int{self.weight_bits}"
        text += f", layers kept higher: {len(self.kept)}" if self.kept else ""
        return f"{text}, codebook of {self.codebook}" if self.codebook else text
