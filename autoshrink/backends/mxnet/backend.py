"""MXNet as a backend: ``model-symbol.json`` and ``model-0000.params`` for one example at a time, run by oneDNN."""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from autoshrink.backends.base import DeployedBackend, beyond, listed
from autoshrink.core import Artifact, BackendUnavailable, Encoding, Hardware, Refusal
from autoshrink.devices.environment import Environment

if TYPE_CHECKING:
    from torch import nn

    from autoshrink.models.splits import Split

__all__ = ["MxNet"]

_SYMBOL, _PARAMETERS = "model-symbol.json", "model-0000.params"
_BITS: Mapping[str, tuple[int, ...]] = {"float": (32,), "static": (8,), "dynamic": (), "weight_only": ()}
_RANGES = re.compile(rb'"(min|max)_calib_range": ?"[^"]*"')


class MxNet(DeployedBackend):
    """Apache MXNet 1.9.1, its last release, which takes no NumPy of today.

    Everything that imports it is in the folder ``inside``, and is run by the interpreter of `environment`. Profiles
    have no options.
    """

    kind: ClassVar[str] = "mxnet"
    adapter: ClassVar[Path] = Path(__file__).parent / "inside" / "adapter.py"
    environment: ClassVar[Environment] = Environment(
        name="mxnet",
        pins=("mxnet==1.9.1", "numpy==1.23.5", "onnx==1.14.1", "protobuf==3.20.3"),
        pythons=(10, 11),
        check="import mxnet, onnx; mxnet.nd.ones(1).asnumpy()",
    )

    def require(self, hardware: Hardware) -> None:
        """Check that MXNet's environment was made, and that the profile has no options."""
        for option in hardware.options:
            raise hardware.source.error(("options", option), "unknown option; mxnet has none")
        if not self.environment.here:
            raise BackendUnavailable(
                f"{hardware.name} needs MXNet in an environment of its own: run autoshrink doctor --setup mxnet"
            )

    def accepts(self, encoding: Encoding, hardware: Hardware) -> str:
        """Say what stands in the way of an encoding: the profile's capabilities, or what the runtime can execute."""
        if reason := beyond(encoding, hardware):
            return reason
        bits = _BITS[encoding.scheme]
        if not bits:
            return f"MXNet has no scheme {encoding.scheme}"
        if encoding.weight_bits not in bits:
            return f"MXNet has {encoding.scheme} in {listed(bits)} bits, not in {encoding.weight_bits}"
        if encoding.kept:
            return "MXNet is told no bits for single layers here"
        if encoding.codebook:
            return "MXNet has no codebooks"
        if encoding.scheme == "static" and encoding.calibration != "minmax":
            return f"MXNet calibrates by minmax, not by {encoding.calibration}"
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
        """Write a symbol and its parameters; the one output is what the model gives first (or ``logits``).

        MXNet keeps the weights of int8 convolutions in floats in its file, and those of linear layers unless
        ``per_tensor`` is asked for: int8 is for speed there, and the size that is reported is that of the files.
        The notes say what was counted: ``layers`` that have weights by what they compute in, how many weights are
        ``stored`` as integers, and all ``operators``.
        """
        if reason := self.accepts(encoding, hardware):
            raise Refusal(reason)
        self.require(hardware)
        from autoshrink.backends.mxnet.convert import convert

        counted = convert(model, example, encoding, calibration, folder, self.environment.python)
        if encoding.scheme == "static" and not counted["layers"]["integers"]:
            raise Refusal("static int8 was asked for, and MXNet's quantizer finds no layer for it")
        contents = [(folder / name).read_bytes() for name in (_SYMBOL, _PARAMETERS)]
        return Artifact(
            key=hashlib.sha256(b"".join(contents)).hexdigest()[:16],
            backend=self.kind,
            files=(_SYMBOL, _PARAMETERS),
            size=sum(map(len, contents)),
            structure=hashlib.sha256(_RANGES.sub(b"", contents[0])).hexdigest()[:16],
            notes=counted,
        )

    def versions(self) -> dict[str, str]:
        """Give the versions of the runtime and of what writes the graph; other pins say nothing about speed."""
        runtime = dict(pin.split("==") for pin in self.environment.pins if pin.startswith("mxnet"))
        return runtime | {name: importlib.metadata.version(name) for name in ("onnxruntime", "torch")}

    def companions(self, model: Path) -> tuple[Path, ...]:
        """The parameters beside a symbol."""
        stem = model.name.removesuffix("-symbol.json")
        return (model.with_name(f"{stem}-0000.params"),) if stem != model.name else ()
