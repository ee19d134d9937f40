"""A hardware profile: backend, device, physical limits, capabilities and energy constants with their source."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from autoshrink.core.documents import Document, Frozen, Name
from autoshrink.core.quantities import Bytes, Fraction, JoulesPerCycle, Watts

__all__ = ["Capabilities", "Energy", "Expected", "Hardware", "Limits"]

Bits = Literal[32, 16, 8, 4]
Scheme = Literal["float", "static", "dynamic", "weight_only"]


class Limits(Frozen):
    """What the device physically has: no budget can be above it."""

    size: Bytes | None = None
    memory: Bytes | None = None


class Capabilities(Frozen):
    """Number formats that the device can execute; a space is cut to them before the search."""

    weight_bits: tuple[Bits, ...] = (32, 16, 8, 4)
    activation_bits: tuple[Literal[32, 16, 8], ...] = (32, 16, 8)
    schemes: tuple[Scheme, ...] = ("float", "static", "dynamic", "weight_only")


class Energy(Frozen):
    """Constants that turn time or cycles into a *modelled* energy, with their source."""

    power: Watts | None = None
    per_cycle: JoulesPerCycle | None = None
    band: Fraction
    source: Annotated[str, Field(min_length=1)]

    @model_validator(mode="after")
    def _one_constant(self) -> Self:
        if (self.power is None) == (self.per_cycle is None):
            raise ValueError("give either 'power' (such as 6 W) or 'per_cycle' (such as 0.37 nJ)")
        return self


class Expected(Frozen):
    """Facts that a machine's fingerprint must contain, upper or lower case, to be measured under a profile's name."""

    model: str | None = None
    machine: str | None = None
    processor: str | None = None
    features: str | None = None
    gpu: str | None = None
    system: str | None = None
    build: str | None = None


def _place(device: str) -> str:
    if device in ("local", "emulated", "none") or re.fullmatch(r"ray://[\w.:-]+", device):
        return device
    if len({address.partition("://")[0] for address in device.split(",")}) == 1 and all(
        re.fullmatch(r"(ssh|adb)://\S+", address) for address in device.split(",")
    ):
        return device
    raise ValueError(f"must be local, emulated, none, ssh://user@host, adb://SERIAL or ray://RESOURCE, not {device!r}")


class Hardware(Document):
    """One device as a target names it: a file in ``targets/``, a path, or written inline."""

    name: Name
    kind: Literal["cpu", "phone", "gpu", "mcu"]
    backend: Name
    device: Annotated[str, AfterValidator(_place)] = "local"
    threads: Annotated[int, Field(ge=1)] = 1
    pin: bool = True
    expects: Expected = Field(default=Expected(), description="facts of the device without which nothing is measured")
    options: dict[str, Any] = Field(default_factory=dict, description="settings that belong to the backend")
    limits: Limits = Limits()
    capabilities: Capabilities = Capabilities()
    energy: Energy | None = None
