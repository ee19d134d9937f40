"""From a torch module to the content of a package: exported, encoded, compiled, checked and counted."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from autoshrink.backends.torch_inductor.compiling import compile_program
from autoshrink.backends.torch_inductor.formats import (
    count_layers,
    in_half,
    quantized_for_gpu,
    quantized_for_processor,
)
from autoshrink.backends.torch_inductor.storing import store
from autoshrink.core import Refusal
from autoshrink.models.agreement import check_agreement, one_by_one
from autoshrink.models.exporting import (
    TRACING_ERRORS,
    export_program,
    first_line,
    input_names,
    quiet,
    structure_key,
)

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

    from autoshrink.core import Encoding, Hardware
    from autoshrink.models.splits import Split

__all__ = ["Built", "build"]


@dataclass(frozen=True)
class Built:
    """A file's content, and what was counted."""

    content: bytes
    structure: str
    layers: Counter[str]
    """Layers with weights by what they compute in: ``integers``, ``float8`` or ``float``."""
    stored: int
    """Weights that are held in fewer bits than they compute in."""
    executed: dict[str, int]
    """Calls of operators of the library, by name."""
    seconds: float
    """What compiling took."""


def build(model: nn.Module, example: Split, encoding: Encoding, calibration: Split, hardware: Hardware) -> Built:
    """Build a package for one example at a time.

    What is float is checked in the package; else the float program is checked before it is encoded.

    Args:
        model: in eval mode, on the CPU.
        example: one example.
        encoding: the number formats.
        calibration: examples for static ranges and for the check.
        hardware: the profile: processor or GPU, threads, what 16 and 8 bits are.

    Raises:
        Refusal: the exporter or the compiler can't follow the model, it computes something else, or nothing is encoded.
    """
    program = export_program(model, example)
    batches = one_by_one(example, calibration)
    plain = encoding.scheme == "float" and encoding.weight_bits == 32
    device = torch.device("cuda" if hardware.kind == "gpu" else "cpu")
    what = encoding.describe()
    try:
        with quiet(), torch.no_grad():
            count = 0
            if not plain:
                followed: Any = program.module()
                check_agreement(model, batches, (followed(*batch.inputs).numpy() for batch in batches))
                program, count = _encode(model, program, example, encoding, calibration, hardware, device)
            elif device.type != "cpu":
                program = _moved(program, device)
            compiled = compile_program(
                program,
                [
                    {"name": name, "dtype": str(tensor.dtype).removeprefix("torch."), "shape": list(tensor.shape)}
                    for name, tensor in zip(input_names(model, example), example.inputs, strict=True)
                ],
                threads=hardware.threads,
                fold=bool(count),
            )
    except TRACING_ERRORS as error:
        raise Refusal(f"TorchInductor can't compile the model as {what}: {first_line(error)}") from error
    layers = count_layers(program.graph, compiled.executed if device.type == "cpu" else None)
    if encoding.scheme in ("static", "dynamic") and not layers["integers"] + layers["float8"]:
        raise Refusal(f"{what} was asked for, and TorchInductor executes no layer in 8 bits")
    if plain:
        check_agreement(model, batches, _run(compiled.content, batches, device))
    return Built(
        compiled.content,
        structure_key(program.graph, f"{what} {device.type} {sorted(hardware.options.items())}"),
        layers,
        count,
        compiled.executed,
        compiled.seconds,
    )


def _encode(
    model: nn.Module,
    program: ExportedProgram,
    example: Split,
    encoding: Encoding,
    calibration: Split,
    hardware: Hardware,
    device: torch.device,
) -> tuple[ExportedProgram, int]:
    """Encode a float program; gives also how many weights are only stored in fewer bits."""
    half = getattr(torch, str(hardware.options.get("half", "float16")))
    if encoding.scheme in ("static", "dynamic"):
        if device.type == "cpu":
            return quantized_for_processor(program, encoding, example, calibration), 0
        return quantized_for_gpu(model, example, str(hardware.options.get("eight_bits", "int8")), half, device), 0
    if encoding.scheme == "float" and (device.type != "cpu" or half == torch.bfloat16):
        return in_half(model, example, half, device), 0
    program, count = store(program, example, encoding)
    if not count:
        raise Refusal(f"{encoding.describe()} finds no weight that would take less space")
    return (program if device.type == "cpu" else _moved(program, device)), count


def _moved(program: ExportedProgram, device: torch.device) -> ExportedProgram:
    from torch.export.passes import move_to_device_pass

    return move_to_device_pass(program, device)


def _run(content: bytes, batches: list[Split], device: torch.device) -> Iterator[np.ndarray]:
    """Run a package in this process; gives the output for each batch."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pt2"
        path.write_bytes(content)
        loader = torch._C._aoti.AOTIModelPackageLoader(str(path), "model", True, 1, -1)
        for batch in batches:
            yield loader.run([tensor.to(device) for tensor in batch.inputs])[0].cpu().numpy().copy()
