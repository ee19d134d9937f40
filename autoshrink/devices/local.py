"""This machine: the harness in a fresh process."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from autoshrink.devices.base import Device
from autoshrink.devices.endings import check_ending
from autoshrink.devices.harness import facts, launch

__all__ = ["Local"]


class Local(Device):
    """The machine that autoshrink runs on."""

    address = "local"

    @property
    def cores(self) -> int:
        """The cores that this process may use."""
        return facts.cores()

    def run(self, adapter: Path, request: Mapping[str, Any], files: Mapping[str, Path], timeout: float) -> Path:
        """Run the harness in a process of its own; see `Device.run`."""
        python = request.get("python") or sys.executable
        folder = Path(tempfile.mkdtemp(prefix="autoshrink-local-"))
        try:
            ended = launch.launch(adapter, request, files, folder, timeout, python=python)
            check_ending(ended, "this machine", python, timeout)
        except BaseException:
            shutil.rmtree(folder)
            raise
        return folder

    def fingerprint(self) -> dict[str, str]:
        """Describe this machine."""
        return facts.facts()

    def versions(self, packages: Iterable[str]) -> dict[str, str]:
        """Give the versions of packages here."""
        return facts.versions(packages)
