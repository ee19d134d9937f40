"""What a device is: the place where the harness runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from autoshrink.core import AutoshrinkError

__all__ = ["ArtifactFailed", "Device"]


class ArtifactFailed(AutoshrinkError):
    """The runtime failed on an artifact: the fault of this candidate, while the device goes on."""


class Device(ABC):
    """A place. It runs the harness with one backend's adapter on files, and brings the answer back.

    A backend's adapter is one file that imports its runtime and NumPy but nothing of autoshrink. It has
    ``load(path, options)``, which returns an object with ``inputs`` (a list of ``{name, dtype, shape}``, None for free
    dimension), ``run({name: array}) -> [array, …]`` and, if it likes, ``bind({name: array}) -> callable`` (one run with
    as little around it as possible, for timing), ``notes`` and ``versions``. Where it runs on a GPU it has ``launch``
    instead of ``bind``, as `autoshrink.devices.harness.gpu` describes.
    """

    address: str
    """What a profile calls it."""
    places: int = 1
    """How many of its kind there are, each of which can run something at the same time."""

    @abstractmethod
    def run(self, adapter: Path, request: Mapping[str, Any], files: Mapping[str, Path], timeout: float) -> Path:
        """Run the harness once in a fresh process.

        Args:
            adapter: the backend's adapter file.
            request: JSON-like settings. ``artifact`` and ``reference`` (or None): ``[NAME, FILE]``, a folder by name
                in ``files`` and the file in it to load; ``options`` for the adapter; ``example``: the name of an .npz
                file with one example, or None for invented numbers; ``wants``: some of ``latency``, ``memory``,
                ``energy``; ``predict``: names of .npz files, run ``batch`` examples at a time; ``threads``, ``pin``;
                the settings of ``stopwatch`` and ``energy``; ``python``, an interpreter on this machine other than
                autoshrink's own (another machine's is in its address); and where the runtime's own ``benchmark``
                program takes the harness's place, how it is called and what it prints
                (`autoshrink.devices.benchmark`).
            files: what the harness reads, files and folders, by name.
            timeout: seconds after which the process is ended.

        Returns:
            A local folder with ``answer.json`` and a ``NAME.npy`` for each name in ``predict``; the caller removes it.

        Raises:
            ArtifactFailed: the runtime refused the artifact or died of it.
            BackendUnavailable: the adapter can't import its runtime there.
            DeviceError: the device is gone, the process died (with its last lines) or ran out of time.
        """

    @abstractmethod
    def fingerprint(self) -> dict[str, str]:
        """Describe the hardware so that a change shows: processor, cores, memory, system, runtime-relevant features.

        Raises:
            DeviceError: the device can't be reached.
        """

    @abstractmethod
    def versions(self, packages: Iterable[str]) -> dict[str, str]:
        """Give the versions of those Python packages that are installed there.

        Raises:
            DeviceError: the device can't be reached.
        """
