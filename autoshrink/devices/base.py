"""What a device is: the place where the harness runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["Device"]


class Device(ABC):
    """A place. It runs the harness with one backend's adapter on files, and brings the answer back."""

    @abstractmethod
    def run(self, adapter: Path, request: Mapping[str, Any], files: Mapping[str, Path], timeout: float) -> Path:
        """Run the harness once in a fresh process.

        Args:
            adapter: the backend's adapter file.
            request: JSON-like settings; names in it refer to keys of ``files``.
            files: what the harness reads, by name.
            timeout: seconds after which the process is ended.

        Returns:
            A local folder with ``answer.json`` and the arrays that it names; the caller removes it.

        Raises:
            DeviceError: the device is gone, the process died (with its last lines) or ran out of time.
        """

    @abstractmethod
    def fingerprint(self) -> dict[str, str]:
        """Describe the hardware so that a change shows: processor, cores, memory, system, runtime-relevant features."""
