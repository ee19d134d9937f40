"""ExecuTorch as a backend: one ``model.pte`` for one example at a time, run by XNNPACK's kernels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from autoshrink.backends.base import ExtraBackend
from autoshrink.core import Artifact, Encoding, Hardware, Refusal

if TYPE_CHECKING:
    from torch import nn

    from autoshrink.models.splits import Split

__all__ = ["ExecuTorch"]

_FILE = "model.pte"


class ExecuTorch(ExtraBackend):
    """PyTorch's runtime for phones and boards, with XNNPACK. A profile has no options."""

    kind: ClassVar[str] = "executorch"
    adapter: ClassVar[Path] = Path(__file__).with_name("adapter.py")
    title: ClassVar[str] = "ExecuTorch with XNNPACK"
    packages: ClassVar[Mapping[str, str]] = {"executorch": "executorch", "torchao": "torchao"}
    bits: ClassVar[Mapping[str, tuple[int, ...]]] = {
        "float": (32,),
        "static": (8,),
        "dynamic": (8,),
        "weight_only": (),
    }

    def require(self, hardware: Hardware) -> None:
        """Check that ExecuTorch and torchao are here, and that no options are given."""
        for option in hardware.options:
            raise hardware.source.error(("options", option), "unknown option; executorch has none")
        super().require(hardware)

    def accepts(self, encoding: Encoding, hardware: Hardware) -> str:
        """Say what stands in the way of an encoding."""
        if encoding.scheme == "static" and encoding.calibration != "minmax":
            return f"ExecuTorch is calibrated by minmax here, not by {encoding.calibration}"
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
        """Write ``model.pte``; its one output is what the model gives first (or ``logits``).

        The notes say what was counted: ``layers`` by what they compute in, the ``parts`` of the graph that XNNPACK took
        over and the operators ``delegated`` with them, and those ``left_over`` to ExecuTorch's plain kernels.
        """
        if reason := self.accepts(encoding, hardware):
            raise Refusal(reason)
        from autoshrink.backends.executorch.lower import lower

        lowered = lower(model, example, encoding, calibration)
        if encoding.scheme != "float" and not lowered.layers["integers"]:
            raise Refusal(f"{encoding.describe()} was asked for, and XNNPACK's quantizer finds no layer for it")
        (folder / _FILE).write_bytes(lowered.content)
        return Artifact(
            key=hashlib.sha256(lowered.content).hexdigest()[:16],
            backend=self.kind,
            files=(_FILE,),
            size=len(lowered.content),
            structure=lowered.structure,
            notes={
                "layers": dict(lowered.layers),
                "parts": lowered.parts,
                "delegated": lowered.delegated,
                "left_over": lowered.left_over,
            },
        )
