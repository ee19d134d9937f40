"""OpenVINO: convert, quantize, count and run."""

import sys

from autoshrink.backends.openvino.backend import OpenVino

__all__ = ["OpenVino"]

# OpenVINO and NNCF report each use to their maker unless this package of theirs can't be imported.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
