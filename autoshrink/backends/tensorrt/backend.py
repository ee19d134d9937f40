"""TensorRT as a backend: one ``model.engine`` for one example at a time, built for the GPU that it is built on."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from autoshrink.backends.base import ExtraBackend, listed
from autoshrink.core import Artifact, BackendUnavailable, Encoding, Hardware, Refusal, nearest

if TYPE_CHECKING:
    from torch import nn

    from autoshrink.models.splits import Split

__all__ = ["TensorRt"]

_FILE = "model.engine"
_OPTIONS: dict[str, tuple[object, ...]] = {
    "product": ("tensorrt", "tensorrt_rtx"),
    "eight_bits": ("int8", "float8"),
    "effort": (0, 1, 2, 3, 4, 5),
    "cuda_graphs": (True, False),
}


class TensorRt(ExtraBackend):
    """NVIDIA's TensorRT.

    Options of a profile: ``product`` (tensorrt, the default, or tensorrt_rtx, its sibling for desktop cards, which has
    the same interface), ``eight_bits`` (int8, the default, or float8, on cards that have it), ``effort`` of the builder
    (0 to 5, default 3) and ``cuda_graphs`` (default true).
    """

    kind: ClassVar[str] = "tensorrt"
    adapter: ClassVar[Path] = Path(__file__).with_name("adapter.py")
    title: ClassVar[str] = "TensorRT"
    packages: ClassVar[Mapping[str, str]] = {"tensorrt-cu13": "tensorrt"}
    bits: ClassVar[Mapping[str, tuple[int, ...]]] = {
        "float": (32, 16),
        "static": (8,),
        "dynamic": (),
        "weight_only": (),
    }

    def require(self, hardware: Hardware) -> None:
        """Check the options, that the product is installed, and that there is a GPU for it."""
        for option, value in hardware.options.items():
            if option not in _OPTIONS:
                raise hardware.source.error(("options", option), f"unknown option; {nearest(option, _OPTIONS)}")
            if value not in _OPTIONS[option]:
                message = f"must be one of {listed(_OPTIONS[option])}, not {value!r}"
                raise hardware.source.error(("options", option), message)
        if hardware.device != "local":
            raise BackendUnavailable(
                f"{hardware.name}: an engine is built on the GPU that runs it, and not for {hardware.device}: "
                "run autoshrink there, with 'device: local'"
            )
        product = str(hardware.options.get("product", "tensorrt"))
        if importlib.util.find_spec(product) is None:
            raise BackendUnavailable(
                f"{hardware.name} needs {product.replace('_', '-')}-cu13: install it with "
                f"pip install -c constraints.txt -e '.[{product}]' --extra-index-url https://pypi.nvidia.com"
            )
        import torch

        if not torch.cuda.is_available():
            raise BackendUnavailable(f"{hardware.name} needs an NVIDIA GPU and torch built for CUDA; torch finds none")

    def export(
        self,
        model: nn.Module,
        example: Split,
        encoding: Encoding,
        calibration: Split,
        folder: Path,
        hardware: Hardware,
    ) -> Artifact:
        """Write ``model.engine``; its one output is what the model gives first (or ``logits``).

        The notes say what was counted: layers ``quantized`` in the graph, and the engine's ``layers`` by what they
        compute in.
        """
        if reason := self.accepts(encoding, hardware):
            raise Refusal(reason)
        from autoshrink.backends.tensorrt.engine import build_engine, check_engine
        from autoshrink.backends.tensorrt.network import Settings, prepare
        from autoshrink.models.onnx.artifact import structure_key

        settings = Settings.of(hardware)
        prepared = prepare(model, example, encoding, calibration, settings)
        content, layers = build_engine(prepared, settings)
        if encoding.scheme == "static" and not layers["integers"] + layers["float8"]:
            raise Refusal(f"{encoding.describe()} was asked for, and TensorRT executes no layer in 8 bits")
        if encoding.scheme == "float" and encoding.weight_bits == 32:
            check_engine(content, model, prepared, example, calibration, settings)
        (folder / _FILE).write_bytes(content)
        return Artifact(
            key=hashlib.sha256(content).hexdigest()[:16],
            backend=self.kind,
            files=(_FILE,),
            size=len(content),
            structure=structure_key(prepared.content),
            notes={"quantized": prepared.quantized, "layers": dict(layers)},
        )

    def versions(self) -> dict[str, str]:
        """Give the versions of what is installed of TensorRT's products, and of what writes the graph."""
        products = {"tensorrt": "tensorrt-cu13", "tensorrt_rtx": "tensorrt-rtx-cu13"}
        here = [name for module, name in products.items() if importlib.util.find_spec(module) is not None]
        return {name: importlib.metadata.version(name) for name in (*here, "onnx", "onnx-ir", "torch")}
