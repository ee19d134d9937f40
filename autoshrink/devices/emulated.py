"""The emulated device: a backend brings it along, and it is the same on every machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from autoshrink.core import DeviceError
from autoshrink.devices.base import Device

__all__ = ["Emulated"]


class Emulated(Device):
    """No place where a harness could run: only a backend that emulates its own hardware can use it."""

    address = "emulated"

    def run(self, adapter: Path, request: Mapping[str, Any], files: Mapping[str, Path], timeout: float) -> Path:
        """Refuse.

        Raises:
            DeviceError: always.
        """
        raise DeviceError(
            f"{adapter.parent.name} can't run on an emulated device: write 'device: local' in the profile"
        )

    def fingerprint(self) -> dict[str, str]:
        """Describe nothing of this machine, on which no figure depends."""
        return {"device": "emulated"}

    def versions(self, packages: Iterable[str]) -> dict[str, str]:
        """Give none: the backend that emulates names its own tools."""
        return {}
