"""One model file on one device, whoever made it."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

from autoshrink.backends.measuring import fingerprint, measure
from autoshrink.backends.registry import backend
from autoshrink.core import Artifact, Hardware, Measurement, SpecError
from autoshrink.core.catalog import is_file
from autoshrink.devices.base import ArtifactFailed
from autoshrink.search.nodes import place_of

__all__ = ["measure_file"]


def measure_file(model: Path, hardware: Hardware) -> tuple[Measurement, dict[str, Any]]:
    """Measure a model file, with invented numbers as its input.

    Returns:
        The measurement, and the fingerprint of the device that it was taken on.

    Raises:
        SpecError: there is no such file, it is not what it says, or the runtime can't run it.
        BackendUnavailable: the runtime is not installed.
        DeviceError: the device did not do what it was asked to.
    """
    runtime = backend(hardware.backend)
    files = (model, *runtime.companions(model))
    for file in files:
        if not is_file(file):
            raise SpecError(f"{file}: no such file")
    if model.suffix == ".onnx":
        from autoshrink.models.onnx.check import check_file

        files += check_file(model)
    place = place_of(hardware)
    runtime.require(hardware)
    content = b"".join(file.read_bytes() for file in files)
    artifact = Artifact(
        key=hashlib.sha256(content).hexdigest()[:16],
        backend=runtime.kind,
        files=tuple(file.name for file in files),
        size=len(content),
    )
    with tempfile.TemporaryDirectory(prefix="autoshrink-") as folder:
        for file in files:
            shutil.copy(file, folder)
        try:
            found = measure(runtime, place, hardware, Path(folder), artifact, effort="thorough")
        except ArtifactFailed as failure:
            raise SpecError(f"{model}: {runtime.kind} can't run it: {failure}") from None
    return found.measurement, fingerprint(runtime, place, hardware)
