"""Microcontrollers as a backend: an int8 ``model.tflite``, compiled to firmware that runs on an emulated core."""

from __future__ import annotations

import importlib.metadata
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from autoshrink.backends.base import EmulatedBackend, beyond
from autoshrink.backends.cortex_m.boards import read_board, read_npu
from autoshrink.backends.cortex_m.encodings import PLAIN, refused
from autoshrink.core import Artifact, BackendUnavailable, Candidate, Encoding, Hardware, Measurement, Refusal

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from autoshrink.models.splits import Split

__all__ = ["CortexM"]


class CortexM(EmulatedBackend):
    """Arm Cortex-M cores, and the Ethos-U NPUs beside them.

    There is no arithmetic but int8: a model that is encoded in no way, such as the original that candidates are
    compared with, is executed in static int8.
    """

    kind: ClassVar[str] = "cortex_m"

    def require(self, hardware: Hardware) -> None:
        """Check the profile, and that compiler, emulator and interpreter (or Vela) are installed."""
        from autoshrink.backends.cortex_m.oracle import require_oracle
        from autoshrink.backends.cortex_m.toolchain import require_toolchain
        from autoshrink.backends.cortex_m.vela import vela_version

        if hardware.device != "emulated":
            message = f"a microcontroller is emulated: write 'emulated', not {hardware.device!r}"
            raise hardware.source.error(("device",), message)
        if read_npu(hardware) is not None:
            vela_version()
        else:
            read_board(hardware)
            require_toolchain()
        require_oracle()

    def accepts(self, encoding: Encoding, hardware: Hardware) -> str:
        """Say what stands in the way of an encoding: the profile's capabilities, or the kernels.

        An encoding that has nothing but a codebook asks whether weights can be shared, in whatever format.
        """
        if encoding.codebook:
            encoding = _filled(encoding)
        return beyond(encoding, hardware) or refused(encoding)

    def export(
        self,
        model: nn.Module,
        example: Split,
        encoding: Encoding,
        calibration: Split,
        folder: Path,
        hardware: Hardware,
    ) -> Artifact:
        """Write ``model.tflite``, for one example.

        The notes say what was counted: layers ``quantized``, the types of their ``weights``, and how many of them have
        so few values that they are stored as ``codebooks``; ``kept`` counts those in 8 bits beside 4; ``inputs`` and
        ``output`` say how torch's arrays are laid out in the file. The C sources are made from this file whenever they
        are needed, and are made here once so that what has no kernel is refused at once.
        """
        from autoshrink.backends.cortex_m.artifact import counted, write_artifact
        from autoshrink.backends.cortex_m.convert import convert

        encoding = _filled(encoding)
        reason = self.accepts(encoding, hardware)
        if reason:
            raise Refusal(reason)
        converted = convert(model, example, encoding, calibration)
        notes = counted(converted.graph, encoding)
        if read_npu(hardware) is None:
            from autoshrink.backends.cortex_m.generate import generate

            with tempfile.TemporaryDirectory(prefix="autoshrink-sources-") as scratch:
                made = generate(converted.graph, Path(scratch), core=read_board(hardware).core)
            notes |= {"macs": made.macs, "weight_bytes": made.weight_bytes, "arena_bytes": made.arena_bytes}
        return write_artifact(converted, folder, self.kind, notes)

    def weights(self, folder: Path, artifact: Artifact) -> list[np.ndarray]:
        """Read the weights back: integers times their scales."""
        from autoshrink.backends.cortex_m.artifact import real_weights
        from autoshrink.backends.cortex_m.read_tflite import read_tflite

        return real_weights(read_tflite((folder / artifact.files[0]).read_bytes(), artifact.files[0]))

    def measure(
        self, folder: Path, artifact: Artifact, hardware: Hardware, predict: Mapping[str, Path]
    ) -> tuple[Measurement, dict[str, np.ndarray]]:
        """Measure an artifact without a device, as `measure_artifact` says."""
        from autoshrink.backends.cortex_m.measure import measure_artifact

        return measure_artifact(folder, artifact, hardware, predict)

    def deliver(
        self,
        folder: Path,
        artifact: Artifact,
        hardware: Hardware,
        candidate: Candidate,
        to: Path,
        example: Callable[[], Split | None] = lambda: None,
    ) -> list[str]:
        """Write the file, C sources and an emulated board for them, as `deliver_artifact` says."""
        from autoshrink.backends.cortex_m.deliver import deliver_artifact

        return deliver_artifact(folder, artifact, hardware, candidate, to, example)

    def versions(self) -> dict[str, str]:
        """Give the versions of what converts, compiles, emulates and interprets."""
        from autoshrink.backends.cortex_m import toolchain

        found: dict[str, Any] = {}
        for name in ("torch", "tflite-micro", "ethos-u-vela"):
            try:
                found[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                continue
        try:
            return {**found, **toolchain.versions()}
        except BackendUnavailable:
            return found  # an NPU needs neither compiler nor emulator


def _filled(encoding: Encoding) -> Encoding:
    """Give what is executed for an encoding that names no number format."""
    if encoding.scheme != "float" or encoding.weight_bits != 32:
        return encoding
    return PLAIN.model_copy(update={"codebook": encoding.codebook, "granularity": encoding.granularity})
