"""Whether a machine is what a profile says: a figure must not stand under the name of another machine."""

from __future__ import annotations

from collections.abc import Mapping

from autoshrink.core import DeviceError, Hardware

__all__ = ["check_identity", "difference"]

_MACHINES = {"arm64": "aarch64", "amd64": "x86_64"}
"""Other names of the same."""


def check_identity(hardware: Hardware, facts: Mapping[str, str]) -> None:
    """Refuse a machine that is obviously another than the profile says.

    Args:
        hardware: the profile, with what it ``expects``.
        facts: the machine's fingerprint.

    Raises:
        DeviceError: a fact is not what the profile expects, or the profile is of a GPU and there is none.
    """
    if hardware.device == "emulated":
        return
    for name, expected in hardware.expects:
        found = facts.get(name, "")
        if expected is not None and _plain(expected) not in _plain(found):
            raise DeviceError(
                f"{hardware.name} expects a device whose {name} is {expected!r}, and {hardware.device} "
                f"{f'has {found!r}' if found else 'tells none'}: write where the right one is under 'device' in the "
                "profile, or measure with a profile of this one"
            )
    if hardware.kind == "gpu" and "gpu" not in facts:
        raise DeviceError(
            f"{hardware.name} is a GPU, and {hardware.device} shows none: its driver is missing, or another profile is "
            "meant"
        )


def difference(one: Mapping[str, str], other: Mapping[str, str]) -> str:
    """Say in which facts two machines differ; empty when in none."""
    names = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
    return "; ".join(f"{name} is {one.get(name, 'nothing')} and {other.get(name, 'nothing')}" for name in names)


def _plain(text: str) -> str:
    lowered = text.strip("\0 \n").lower()
    return _MACHINES.get(lowered, lowered)
