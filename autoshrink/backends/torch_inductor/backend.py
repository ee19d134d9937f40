"""TorchInductor as a backend: one ``model.pt2`` for one example at a time, compiled for this machine."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from autoshrink.backends.base import ExtraBackend, listed
from autoshrink.core import Artifact, BackendUnavailable, Encoding, Hardware, Refusal, nearest

if TYPE_CHECKING:
    from torch import nn

    from autoshrink.models.splits import Split

__all__ = ["TorchInductor"]

_FILE = "model.pt2"
_OPTIONS: dict[str, tuple[object, ...]] = {
    "half": ("float16", "bfloat16"),
    "eight_bits": ("int8", "float8"),
    "cuda_graphs": (True, False),
}
_GPU_ONLY = ("float8", False)
_X86 = ("x86_64", "AMD64")


class TorchInductor(ExtraBackend):
    """PyTorch's own compiler, ahead of time (AOTInductor), for this machine's processor or, with kind gpu, its GPU.

    Options of a profile: ``half``, what 16 bits are (float16, the default, or bfloat16; a processor stores float16 and
    computes in 32 bits, and computes in bfloat16); and on a GPU ``eight_bits``, what 8 bits are (int8, the default, or
    float8), and ``cuda_graphs`` (default true).
    """

    kind: ClassVar[str] = "torch_inductor"
    adapter: ClassVar[Path] = Path(__file__).with_name("adapter.py")
    title: ClassVar[str] = "TorchInductor"
    packages: ClassVar[Mapping[str, str]] = {"torchao": "torchao"}
    bits: ClassVar[Mapping[str, tuple[int, ...]]] = {
        "float": (32, 16),
        "static": (8,),
        "dynamic": (8,),
        "weight_only": (8, 4),
    }

    def require(self, hardware: Hardware) -> None:
        """Check the options, and that what compiles is here: a C++ compiler, torchao, for a GPU torch's CUDA."""
        for option, value in hardware.options.items():
            if option not in _OPTIONS:
                raise hardware.source.error(("options", option), f"unknown option; {nearest(option, _OPTIONS)}")
            if value not in _OPTIONS[option]:
                message = f"must be one of {listed(_OPTIONS[option])}, not {value!r}"
                raise hardware.source.error(("options", option), message)
            if hardware.kind != "gpu" and value in _GPU_ONLY:
                raise hardware.source.error(("options", option), f"{value} is for profiles of kind gpu")
        if hardware.device != "local":
            raise BackendUnavailable(
                f"{hardware.name}: torch_inductor compiles for the machine that it runs on, and can't for "
                f"{hardware.device}: run autoshrink there, with 'device: local'"
            )
        if {"static", "dynamic"} & set(hardware.capabilities.schemes):
            super().require(hardware)
        compiler = os.environ.get("CXX", "g++")
        if shutil.which(compiler) is None:
            raise BackendUnavailable(f"{hardware.name} needs the C++ compiler {compiler}: apt-get install g++")
        if hardware.kind == "gpu":
            _require_gpu(hardware)

    def accepts(self, encoding: Encoding, hardware: Hardware) -> str:
        """Say what stands in the way of an encoding."""
        if encoding.scheme == "static":
            if hardware.kind == "gpu":
                return "TorchInductor has no static int8 on GPUs; dynamic finds the ranges while running"
            if encoding.calibration != "minmax":
                return f"TorchInductor is calibrated by minmax here, not by {encoding.calibration}"
        if encoding.scheme in ("static", "dynamic"):
            if encoding.granularity != "per_channel":
                return "TorchInductor has integer arithmetic with a scale for each channel, not for each tensor"
            if hardware.kind != "gpu" and platform.machine() not in _X86:
                return f"TorchInductor computes in int8 on x86 processors, not on {platform.machine()}"
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
        """Write ``model.pt2``; its one output is what the model gives first (or ``logits``), in 32 bits.

        The notes say what was counted: the ``layers`` with weights by what they compute in, weights ``stored`` in fewer
        bits, which are widened when the file is loaded, the library's operators that are ``executed`` beside the
        compiled ones, and the ``seconds`` that compiling took.
        """
        if reason := self.accepts(encoding, hardware):
            raise Refusal(reason)
        from autoshrink.backends.torch_inductor.build import build

        built = build(model, example, encoding, calibration, hardware)
        (folder / _FILE).write_bytes(built.content)
        return Artifact(
            key=hashlib.sha256(built.content).hexdigest()[:16],
            backend=self.kind,
            files=(_FILE,),
            size=len(built.content),
            structure=built.structure,
            notes={
                "layers": dict(built.layers),
                "stored": built.stored,
                "executed": built.executed,
                "seconds": round(built.seconds, 3),
            },
        )

    def versions(self) -> dict[str, str]:
        """Give the versions of torch, and of torchao if it is here."""
        here = [name for name, module in self.packages.items() if importlib.util.find_spec(module) is not None]
        return {name: importlib.metadata.version(name) for name in (*here, "torch")}


def _require_gpu(hardware: Hardware) -> None:
    """Check that torch has CUDA and finds a GPU; it is imported only if it can have one."""
    version = importlib.metadata.version("torch")
    built = "pip install torch=={} from https://pytorch.org/get-started/locally, built for CUDA"
    if version.endswith("+cpu") or importlib.util.find_spec("triton") is None:
        wanted = built.format(version.partition("+")[0])
        raise BackendUnavailable(f"{hardware.name} needs torch with CUDA, and torch {version} has none: {wanted}")
    import torch

    if not torch.cuda.is_available():
        raise BackendUnavailable(f"{hardware.name} needs an NVIDIA GPU and its driver, and torch finds none here")
