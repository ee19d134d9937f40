"""What the command line lets one choose among."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Preference", "RoleName"]


class Preference(StrEnum):
    """What to pick a model by."""

    KNEE = "knee"
    LATENCY = "latency"
    SIZE = "size"
    MEMORY = "memory"
    ENERGY = "energy"
    ACCURACY = "accuracy"


class RoleName(StrEnum):
    """What a token's owner may do."""

    READ = "read"
    SUBMIT = "submit"
    ADMIN = "admin"
