"""OpenVINO as a backend: ``model.xml`` and ``model.bin`` for one example at a time."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from autoshrink.backends.base import ExtraBackend, listed
from autoshrink.core import Artifact, Encoding, Hardware, Refusal, nearest

if TYPE_CHECKING:
    from torch import nn

    from autoshrink.models.splits import Split

__all__ = ["OpenVino"]

_FILES = ("model.xml", "model.bin")
_REMARKS = re.compile(rb"<rt_info>.*?</rt_info>", re.DOTALL)
"""What the tools that wrote a description say about themselves."""
_OPTIONS = {"device": None, "precision": ("f32", "bf16", "f16")}


class OpenVino(ExtraBackend):
    """Intel's OpenVINO, with NNCF for number formats.

    Options of a profile: ``device`` (CPU, GPU or NPU; default CPU) and ``precision`` of what computes in float (f32,
    bf16 or f16; default f32, whatever the processor would rather do).
    """

    kind: ClassVar[str] = "openvino"
    adapter: ClassVar[Path] = Path(__file__).with_name("adapter.py")
    title: ClassVar[str] = "OpenVINO"
    packages: ClassVar[Mapping[str, str]] = {"openvino": "openvino", "nncf": "nncf"}
    bits: ClassVar[Mapping[str, tuple[int, ...]]] = {
        "float": (32, 16),
        "static": (8,),
        "dynamic": (),
        "weight_only": (8, 4),
    }

    def require(self, hardware: Hardware) -> None:
        """Check that OpenVINO and NNCF are here, and that the options are known."""
        for option, value in hardware.options.items():
            if option not in _OPTIONS:
                raise hardware.source.error(("options", option), f"unknown option; {nearest(option, _OPTIONS)}")
            known = _OPTIONS[option]
            if known is not None and value not in known:
                raise hardware.source.error(("options", option), f"must be one of {listed(known)}, not {value!r}")
        super().require(hardware)

    def accepts(self, encoding: Encoding, hardware: Hardware) -> str:
        """Say what stands in the way of an encoding."""
        if encoding.scheme == "static" and encoding.calibration == "entropy":
            return "NNCF calibrates by minmax or percentile, not by entropy"
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
        """Write ``model.xml`` and ``model.bin``; the one output is what the model gives first (or ``logits``).

        The notes say what was counted: weights ``stored`` as integers of so many bits; and on this machine's CPU,
        ``layers`` by what they compute in (those in loops or fused with others apart), and all operators that are
        ``executed``.
        """
        if reason := self.accepts(encoding, hardware):
            raise Refusal(reason)
        import openvino

        from autoshrink.backends.openvino.convert import compile_here, convert
        from autoshrink.backends.openvino.encode import encode, executed, stored

        made = convert(model, example, calibration)
        if encoding.scheme != "float":
            made = encode(made, encoding, calibration)
        operators, layers = executed(compile_here(made))
        if encoding.scheme == "static" and not layers["integers"]:
            raise Refusal("static int8 was asked for, and the runtime executes no layer in integers")
        if encoding.scheme == "weight_only" and encoding.weight_bits not in stored(made):
            raise Refusal(f"weight-only int{encoding.weight_bits} finds no weight that NNCF would store so")
        made.set_friendly_name("model")
        for number, operation in enumerate(made.get_ordered_ops()):
            if operation.get_type_name() != "Parameter":
                operation.set_friendly_name(str(number))  # the converter counts through the life of its process
        openvino.save_model(
            made, folder / _FILES[0], compress_to_fp16=encoding.scheme == "float" and encoding.weight_bits == 16
        )
        contents = [(folder / name).read_bytes() for name in _FILES]
        return Artifact(
            key=hashlib.sha256(b"".join(contents)).hexdigest()[:16],
            backend=self.kind,
            files=_FILES,
            size=sum(map(len, contents)),
            structure=hashlib.sha256(_REMARKS.sub(b"", contents[0])).hexdigest()[:16],
            notes={
                "layers": dict(layers),
                "stored": {f"int{bits}": count for bits, count in stored(made).items()},
                "executed": operators,
            },
        )

    def companions(self, model: Path) -> tuple[Path, ...]:
        """The weights beside an ``.xml`` file."""
        return (model.with_suffix(".bin"),) if model.suffix == ".xml" else ()
