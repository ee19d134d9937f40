"""Which number formats the kernels of a microcontroller compute in."""

from __future__ import annotations

from autoshrink.core import Encoding

__all__ = ["MOST_ENTRIES", "PLAIN", "refused"]

MOST_ENTRIES = 16
"""Entries of a codebook whose indices take four bits."""
PLAIN = Encoding(scheme="static", weight_bits=8)
"""What a model is executed in when nothing is asked for: there is no arithmetic but int8."""


def refused(encoding: Encoding) -> str:
    """Say why an encoding can't be executed; empty when it can."""
    if encoding.scheme != "static":
        return f"a microcontroller computes in int8 with scales known beforehand: scheme static, not {encoding.scheme}"
    if encoding.weight_bits not in (8, 4):
        return f"weights are stored in 8 or 4 bits, not in {encoding.weight_bits}"
    if encoding.kept and encoding.weight_bits == 8:
        return "no layer can be kept above 8 bits: there is no arithmetic but int8"
    if encoding.calibration not in ("minmax", "percentile"):
        return f"calibration is minmax or percentile, not {encoding.calibration}"
    if encoding.codebook is not None and encoding.codebook > MOST_ENTRIES:
        return f"kernels look weights up in at most {MOST_ENTRIES} entries, not in {encoding.codebook}"
    return ""
