"""What a backend is: a runtime that turns a model and an encoding into an artifact, and how that is measured."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from autoshrink.core import Artifact, BackendUnavailable, Candidate, Encoding, Hardware, Measurement
from autoshrink.devices.environment import Environment

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from autoshrink.models.splits import Split

__all__ = ["Backend", "DeployedBackend", "EmulatedBackend", "ExtraBackend", "beyond", "listed"]

_HIGHER = {32: {32}, 16: {32}, 8: {16, 32}, 4: {8}}
"""Bits of the weights that are kept one step above the others."""


class Backend(ABC):
    """A runtime. Its package is imported inside the functions that use it, so that its absence breaks nothing else."""

    kind: ClassVar[str]
    """The name in hardware profiles, and of the backend's file or folder."""

    @abstractmethod
    def require(self, hardware: Hardware) -> None:
        """Check that the runtime can be used as the profile asks, and that the profile's options are known.

        Raises:
            BackendUnavailable: names the extra or the package to install.
            SpecError: the profile asks for an option that does not exist.
        """

    @abstractmethod
    def accepts(self, encoding: Encoding, hardware: Hardware) -> str:
        """Say why the runtime on this hardware can't execute an encoding; empty when it can."""

    @abstractmethod
    def export(
        self,
        model: nn.Module,
        example: Split,
        encoding: Encoding,
        calibration: Split,
        folder: Path,
        hardware: Hardware,
    ) -> Artifact:
        """Write a model's deployable files into a folder.

        The float export is checked against torch (1e-4) before it is encoded, and what was really encoded is counted.

        Args:
            model: in eval mode, on the CPU, without parametrizations.
            example: one example, for tracing; the batch dimension of the artifact is free.
            encoding: the number formats.
            calibration: examples that give the ranges of activations.
            folder: an empty folder that the files are written to.
            hardware: the profile whose options may matter for the encoding.

        Raises:
            Refusal: the model can't be exported or encoded, or the runtime would silently not apply the encoding.
        """

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Give the versions of the packages that a measurement depends on."""

    def weights(self, folder: Path, artifact: Artifact) -> list[np.ndarray] | None:
        """Read the weights back that an artifact's files hold, as the real numbers that the runtime computes with.

        Args:
            folder: holds the artifact's files.
            artifact: what to read.

        Returns:
            Matrices and tensors in any order and in the file's own layout; None where such files can't be read back.
        """
        return None

    def companions(self, model: Path) -> tuple[Path, ...]:
        """Name the files without which a model file of this runtime can't be loaded; none for most."""
        return ()

    def deliver(
        self,
        folder: Path,
        artifact: Artifact,
        hardware: Hardware,
        candidate: Candidate,
        to: Path,
        example: Callable[[], Split | None] = lambda: None,
    ) -> list[str]:
        """Write what the user takes home: here the artifact's files as they are.

        Args:
            folder: holds the artifact's files.
            artifact: what to deliver.
            hardware: the profile that it was made for.
            candidate: whose artifact it is, with its figures.
            to: a folder; files of the same name are written over.
            example: gives one example of the user's data, or None where they can't be loaded.

        Returns:
            The files that were written, as paths inside ``to``.

        Raises:
            BackendUnavailable: a package that writes the files is not installed.
        """
        for name in artifact.files:
            shutil.copy(folder / name, to / name)
        return list(artifact.files)


class DeployedBackend(Backend):
    """A runtime that runs on a device, where the harness measures it through an adapter."""

    adapter: ClassVar[Path]
    """The file that runs on the device: ``load(path, options) -> run(inputs) -> outputs``, without autoshrink."""
    environment: ClassVar[Environment | None] = None
    """Where the runtime is on this machine, when it can't be installed beside autoshrink."""

    def benchmark(self, hardware: Hardware) -> dict[str, Any] | None:
        """Describe the runtime's own benchmark program where the profile's option ``benchmark`` names one.

        Returns:
            ``arguments``, in which ``{model}`` is the file, ``{seconds}`` how long to time it and ``{warm}`` how long
            to warm up before; and what `autoshrink.devices.benchmark.read_figures` wants to know. None where the
            harness measures.
        """
        return None


class ExtraBackend(DeployedBackend):
    """A runtime that comes as an extra of this package, and whose files keep no single layers apart."""

    title: ClassVar[str]
    """What people call it."""
    packages: ClassVar[Mapping[str, str]]
    """What has to be installed, as pip calls it, and the module that it brings."""
    bits: ClassVar[Mapping[str, tuple[int, ...]]]
    """The bits of weights that it executes, by scheme; none where it has no such scheme."""

    def require(self, hardware: Hardware) -> None:
        """Check that all packages are installed; none is imported, which would take seconds.

        Raises:
            BackendUnavailable: one is not.
        """
        missing = [name for name, module in self.packages.items() if importlib.util.find_spec(module) is None]
        if missing:
            install = f"pip install -c constraints.txt -e '.[{self.kind}]'"
            raise BackendUnavailable(f"{hardware.name} needs {listed(missing)}: install it with {install}")

    def accepts(self, encoding: Encoding, hardware: Hardware) -> str:
        """Say what stands in the way of an encoding: the profile's capabilities, or what the runtime can execute."""
        if reason := beyond(encoding, hardware):
            return reason
        bits = self.bits[encoding.scheme]
        if not bits:
            return f"{self.title} has no scheme {encoding.scheme}"
        if encoding.weight_bits not in bits:
            return f"{self.title} has {encoding.scheme} in {listed(bits)} bits, not in {encoding.weight_bits}"
        if encoding.kept:
            return f"{self.title} is told no bits for single layers here"
        if encoding.codebook:
            return f"{self.title} has no codebooks"
        return ""

    def versions(self) -> dict[str, str]:
        """Give the versions of the runtime and of what writes its files."""
        return {name: importlib.metadata.version(name) for name in (*self.packages, "torch")}


class EmulatedBackend(Backend):
    """A runtime whose device is emulated or modelled: it measures in its own way, the same on every machine."""

    @abstractmethod
    def measure(
        self, folder: Path, artifact: Artifact, hardware: Hardware, predict: Mapping[str, Path]
    ) -> tuple[Measurement, dict[str, np.ndarray]]:
        """Measure an artifact, and run it on every example.

        Args:
            folder: holds the artifact's files.
            artifact: what to measure.
            hardware: the profile.
            predict: inputs by name of the split, as .npz files.

        Returns:
            The figures, and the first output for each split: shape (examples, …).

        Raises:
            Refusal: the device can't run the artifact.
            BackendUnavailable: a tool is not installed.
            DeviceError: a tool did not do what it was asked to.
        """


def beyond(encoding: Encoding, hardware: Hardware) -> str:
    """Say which of a profile's capabilities an encoding goes beyond; empty when none."""
    can = hardware.capabilities
    if encoding.weight_bits not in can.weight_bits:
        return f"{hardware.name} has weights of {listed(can.weight_bits)} bits, not of {encoding.weight_bits}"
    if encoding.scheme not in can.schemes:
        return f"{hardware.name} has the schemes {listed(can.schemes)}, not {encoding.scheme}"
    if encoding.kept and not _HIGHER[encoding.weight_bits] & set(can.weight_bits):
        return f"{hardware.name} has weights of {listed(can.weight_bits)} bits only, and none of them higher"
    if encoding.scheme in ("static", "dynamic") and 8 not in can.activation_bits:
        return f"{hardware.name} has no activations of 8 bits, which {encoding.scheme} int{encoding.weight_bits} needs"
    return ""


def listed(values: Iterable[object]) -> str:
    """Print values with commas between them."""
    return ", ".join(map(str, values))
