"""ONNX Runtime as a backend: one ``model.onnx`` with a free batch dimension."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from autoshrink.backends.base import DeployedBackend, beyond, listed
from autoshrink.core import Artifact, BackendUnavailable, Encoding, Hardware, Refusal, nearest

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from autoshrink.models.splits import Split

__all__ = ["OnnxRuntime"]

_LEVELS = ("disable", "basic", "extended", "all")
_CPU, _TENSORRT = "CPUExecutionProvider", "TensorrtExecutionProvider"
_OPTIONS = ("providers", "graph_optimization")
_PACKAGES = {
    "CUDAExecutionProvider": "onnxruntime-gpu",
    _TENSORRT: "onnxruntime-gpu",  # and the libraries of TensorRT 10
    "OpenVINOExecutionProvider": "onnxruntime-openvino",
    "QNNExecutionProvider": "onnxruntime-qnn",
}


class OnnxRuntime(DeployedBackend):
    """Microsoft's ONNX Runtime.

    Options of a profile: ``providers`` (execution providers in the order of preference, default the CPU's; where that
    is not among them, it takes no operator) and ``graph_optimization`` (disable, basic, extended or all, the default).
    """

    kind: ClassVar[str] = "onnxruntime"
    adapter: ClassVar[Path] = Path(__file__).with_name("adapter.py")

    def require(self, hardware: Hardware) -> None:
        """Check that onnxruntime is here, has the profile's providers, and that the options are known."""
        for option in hardware.options:
            if option not in _OPTIONS:
                raise hardware.source.error(("options", option), f"unknown option; {nearest(option, _OPTIONS)}")
        level = hardware.options.get("graph_optimization", "all")
        if level not in _LEVELS:
            message = f"{level!r} is no level of graph optimization; {nearest(str(level), _LEVELS)}"
            raise hardware.source.error(("options", "graph_optimization"), message)
        wished = hardware.options.get("providers", [_CPU])
        if not isinstance(wished, list | tuple) or not wished or not all(isinstance(name, str) for name in wished):
            raise hardware.source.error(("options", "providers"), f"write a list of names, such as [{_CPU}]")
        try:
            import onnx  # noqa: F401
            import onnxruntime
        except ImportError as error:
            raise BackendUnavailable(f"{error}: install it with 'pip install onnxruntime onnx onnxscript'") from error
        known, here = onnxruntime.get_all_providers(), onnxruntime.get_available_providers()
        for name in wished:
            if name not in known:
                raise hardware.source.error(("options", "providers"), f"no provider {name!r}; {nearest(name, known)}")
            if name not in here and hardware.device == "local":
                package = _PACKAGES.get(name, "the package that has it")
                raise BackendUnavailable(
                    f"{hardware.name} wants {name}, and the onnxruntime that is installed has {', '.join(here)}: "
                    f"pip uninstall onnxruntime, then pip install {package} (both share a folder)"
                )

    def accepts(self, encoding: Encoding, hardware: Hardware) -> str:
        """Say what stands in the way of an encoding: the profile's capabilities, or what the runtime can execute."""
        if reason := beyond(encoding, hardware):
            return reason
        bits = {"float": (32, 16), "static": (8,), "dynamic": (8,), "weight_only": (8, 4)}[encoding.scheme]
        if encoding.weight_bits not in bits:
            return f"ONNX Runtime has {encoding.scheme} in {listed(bits)} bits, not in {encoding.weight_bits}"
        provider = hardware.options.get("providers", [_CPU])[0]
        if encoding.scheme in ("static", "dynamic") and provider == _TENSORRT:
            return "what TensorRT executes in int8 is not seen through ONNX Runtime; the backend tensorrt counts it"
        if encoding.scheme in ("static", "dynamic") and provider != _CPU:
            return f"{provider} leaves {encoding.scheme} int8 to the CPU"
        return ""

    def export(
        self,
        model: nn.Module,
        example: Split,
        encoding: Encoding,
        calibration: Split,
        folder: Path,
        hardware: Hardware,
    ) -> Artifact:
        """Write ``model.onnx``; its one output is the model's first (or ``logits``).

        The notes say what was counted: layers ``quantized`` to integers (of them ``in_float`` that the runtime executes
        in float all the same), weights only ``stored`` in fewer bits, layers ``kept`` one step higher, and
        the operators ``executed`` on this machine.
        """
        reason = self.accepts(encoding, hardware)
        if reason:
            raise Refusal(reason)
        from autoshrink.backends.onnxruntime.encode import check_executed, encode
        from autoshrink.models.onnx.artifact import compact, write_artifact
        from autoshrink.models.onnx.export import export_float

        exported = export_float(model, example, calibration, encoding.ranges, encoding.kept)
        encoded, notes = encode(exported, encoding, calibration, half_arithmetic=hardware.kind == "gpu")
        content = compact(encoded)
        notes |= check_executed(content, notes, encoding.scheme, hardware.options.get("graph_optimization", "all"))
        notes |= {"opset": encoded.opset_imports[""], "exporter": exported.exporter}
        return write_artifact(content, folder, self.kind, notes)

    def weights(self, folder: Path, artifact: Artifact) -> list[np.ndarray]:
        """Read the weights back, as `read_weights` says."""
        from autoshrink.backends.onnxruntime.read import read_weights

        return read_weights(folder / artifact.files[0])

    def versions(self) -> dict[str, str]:
        """Give the versions of the runtime and of what writes the graph."""
        return {name: importlib.metadata.version(name) for name in ("onnxruntime", "onnx", "onnx-ir", "torch")}
