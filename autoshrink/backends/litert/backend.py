"""LiteRT as a backend: one ``model.tflite`` for one example at a time, run by XNNPACK's kernels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from autoshrink.backends.base import ExtraBackend
from autoshrink.backends.litert.benchmark import benchmark_model, check_benchmark
from autoshrink.core import Artifact, Encoding, Hardware, Refusal, nearest

if TYPE_CHECKING:
    from torch import nn

    from autoshrink.models.splits import Split

__all__ = ["LiteRt"]

_FILE = "model.tflite"
_OPTIONS = ("benchmark", "integer_only", "xnnpack")


class LiteRt(ExtraBackend):
    """Google's LiteRT, which was TensorFlow Lite.

    Options of a profile: ``xnnpack`` (default true: XNNPACK's kernels) and ``integer_only`` (default false: float
    inputs and outputs around a static int8 model; true is for accelerators that know integers only); and for a phone
    without Python ``benchmark``, the path of LiteRT's ``benchmark_model`` on it.
    """

    kind: ClassVar[str] = "litert"
    adapter: ClassVar[Path] = Path(__file__).with_name("adapter.py")
    title: ClassVar[str] = "LiteRT"
    packages: ClassVar[Mapping[str, str]] = {
        "ai-edge-litert": "ai_edge_litert",
        "litert-torch": "litert_torch",
        "ai-edge-quantizer": "ai_edge_quantizer",
    }
    bits: ClassVar[Mapping[str, tuple[int, ...]]] = {
        "float": (32, 16),
        "static": (8,),
        "dynamic": (8, 4),
        "weight_only": (8, 4),
    }

    def require(self, hardware: Hardware) -> None:
        """Check that LiteRT and its converter are here, and that the options are known."""
        for option, value in hardware.options.items():
            if option not in _OPTIONS:
                raise hardware.source.error(("options", option), f"unknown option; {nearest(option, _OPTIONS)}")
            if option == "benchmark":
                check_benchmark(hardware)
            elif not isinstance(value, bool):
                raise hardware.source.error(("options", option), f"must be true or false, not {value!r}")
        super().require(hardware)

    def benchmark(self, hardware: Hardware) -> dict[str, Any] | None:
        """Describe ``benchmark_model``, where the profile names it."""
        return benchmark_model(hardware) if "benchmark" in hardware.options else None

    def accepts(self, encoding: Encoding, hardware: Hardware) -> str:
        """Say what stands in the way of an encoding; an integer-only profile has static int8 alone."""
        if hardware.options.get("integer_only") and encoding.scheme != "static":
            return f"{hardware.name} is integer only, and {encoding.scheme} computes in float"
        return super().accepts(encoding, hardware)

    def export(
        self,
        model: nn.Module,
        example: Split,
        encoding: Encoding,
        calibration: Split,
        folder: Path,
        hardware: Hardware,
    ) -> Artifact:
        """Write ``model.tflite``; its one output is what the model gives first (or ``logits``).

        The notes say what was counted: the ``layers`` that have weights by what they compute in, and all operators
        that are ``executed``.
        """
        integer_only = bool(hardware.options.get("integer_only"))
        if integer_only and encoding.scheme == "float":
            encoding = Encoding(scheme="static", weight_bits=8)  # what the original is executed in
        if reason := self.accepts(encoding, hardware):
            raise Refusal(reason)
        from autoshrink.backends.litert.convert import convert
        from autoshrink.backends.litert.file import compact, executed, layers, structure_key
        from autoshrink.backends.litert.quantize import quantize

        content = convert(model, example, calibration)
        if encoding.scheme != "float" or encoding.weight_bits != 32:
            content = quantize(content, encoding, calibration, integer_only=integer_only)
        content = compact(content)
        counts, operators = layers(content), executed(content)
        if encoding.scheme in ("static", "dynamic") and not counts[encoding.scheme]:
            raise Refusal(f"{encoding.describe()} was asked for, and LiteRT's quantizer finds no layer for it")
        if encoding.scheme == "weight_only" and not operators.get("DEQUANTIZE"):
            raise Refusal(f"weight-only int{encoding.weight_bits} finds no weight that would take less space")
        (folder / _FILE).write_bytes(content)
        return Artifact(
            key=hashlib.sha256(content).hexdigest()[:16],
            backend=self.kind,
            files=(_FILE,),
            size=len(content),
            structure=structure_key(content),
            notes={"layers": dict(counts), "executed": operators},
        )
