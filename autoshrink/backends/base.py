"""What a backend is: a runtime that turns a model and an encoding into an artifact, and an adapter that runs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from autoshrink.core import Artifact, Encoding, Hardware

if TYPE_CHECKING:
    from torch import nn

    from autoshrink.models.splits import Split

__all__ = ["Backend"]


class Backend(ABC):
    """A runtime. Its package is imported inside the functions that use it, so that its absence breaks nothing else."""

    kind: ClassVar[str]
    """The name in hardware profiles, and of the backend's file or folder."""
    adapter: ClassVar[Path]
    """The file that runs on the device: ``load(path, options) -> run(inputs) -> outputs``, without autoshrink."""

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
