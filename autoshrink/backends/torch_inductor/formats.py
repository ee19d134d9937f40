"""Number formats that compute in fewer bits: half floats, int8 and float8."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx, nn

from autoshrink.core import Refusal
from autoshrink.models.exporting import Positional, export_program, quiet, without_logging
from autoshrink.models.ranges import calibration_examples
from autoshrink.models.splits import Split

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from autoshrink.core import Encoding

__all__ = ["count_layers", "in_half", "quantized_for_gpu", "quantized_for_processor"]

_KINDS = {"integers": ("_int_mm", "_qconv", "_qlinear"), "float8": ("_scaled_mm",)}
_LAYERS = ("addmm", "baddbmm", "bmm", "conv", "gru", "linear", "lstm", "matmul", "mm")


class _InHalf(nn.Module):
    """Computes in half floats what takes and gives 32 bits."""

    def __init__(self, model: nn.Module, names: tuple[str, ...], half: torch.dtype) -> None:
        super().__init__()
        self.model = Positional(copy.deepcopy(model), names).to(half)
        self.half_type = half

    def forward(self, *inputs: Tensor) -> Tensor:
        result: Tensor = self.model(*(one.to(self.half_type) if one.is_floating_point() else one for one in inputs))
        return result.float()


def in_half(model: nn.Module, example: Split, half: torch.dtype, device: torch.device) -> ExportedProgram:
    """Follow a model whose weights and arithmetic are half floats; inputs and the output keep 32 bits.

    Raises:
        Refusal: a weight is beyond the range of the half float, or torch.export can't follow the model.
    """
    largest = max((float(one.abs().max()) for one in model.parameters() if one.numel()), default=0.0)
    if largest > torch.finfo(half).max:
        raise Refusal(f"{str(half).removeprefix('torch.')} can't hold a weight of {largest:.3g}")
    return export_program(_InHalf(model, example.names, half).eval().to(device), _on(example, device))


def quantized_for_processor(
    program: ExportedProgram, encoding: Encoding, example: Split, calibration: Split
) -> ExportedProgram:
    """Quantize for oneDNN's kernels on x86: static ranges for all layers, or dynamic ones for those fully connected.

    A convolution whose ranges are found while running would compute in float all the same, and more slowly.
    """
    with quiet(), without_logging():
        from torchao.quantization.pt2e import MinMaxObserver
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
        from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
            X86InductorQuantizer,
            get_default_x86_inductor_quantization_config,
        )

    seven_bits = not any(torch.cpu.get_capabilities().get(name) for name in ("avx512_vnni", "avx_vnni"))
    dynamic = encoding.scheme == "dynamic"
    config = get_default_x86_inductor_quantization_config(is_dynamic=dynamic, reduce_range=seven_bits)
    quantizer = X86InductorQuantizer()
    if dynamic:
        quantizer.set_function_type_qconfig(nn.functional.linear, config)
    else:
        # The histograms that it would make take a second for each batch, and clip.
        extremes = replace(config.input_activation, observer_or_fake_quant_ctr=MinMaxObserver.with_args(eps=2**-12))
        quantizer.set_global(replace(config, input_activation=extremes, output_activation=extremes))
    with without_logging():
        prepared = prepare_pt2e(program.module(), quantizer)
        for one in (example if dynamic else calibration_examples(calibration)).batches(1):
            prepared(*one.inputs)
        program = torch.export.export(convert_pt2e(prepared), example.inputs, strict=False)
    return program


def quantized_for_gpu(
    model: nn.Module, example: Split, eight_bits: str, half: torch.dtype, device: torch.device
) -> ExportedProgram:
    """Quantize fully connected layers, weights by channel and activations by row while running; the rest is in half.

    Args:
        model: in eval mode, on the CPU.
        example: one example.
        eight_bits: int8 or float8.
        half: what the rest computes in.
        device: where to.
    """
    with quiet(), without_logging():
        from torchao.quantization import (
            Float8DynamicActivationFloat8WeightConfig,
            Int8DynamicActivationInt8WeightConfig,
            PerRow,
            quantize_,
        )

        inside = _InHalf(model, example.names, torch.bfloat16 if eight_bits == "float8" else half).eval().to(device)
        float8 = eight_bits == "float8"
        quantize_(
            inside,
            Float8DynamicActivationFloat8WeightConfig(granularity=PerRow())
            if float8
            else Int8DynamicActivationInt8WeightConfig(),
        )
    followed = export_program(inside, _on(example, device))
    with quiet():
        program: ExportedProgram = followed.run_decompositions({})
    return program


def count_layers(graph: fx.Graph, executed: Mapping[str, int] | None) -> Counter[str]:
    """Count layers with weights by what they compute in: ``integers``, ``float8`` or ``float``.

    Args:
        graph: the program that was compiled.
        executed: the library's operators that the compiled file calls, and how often; None where it may call none, as
            on a GPU, and the program itself says what is computed.
    """
    names = Counter(_name(node) for node in graph.nodes if node.op == "call_function")
    found = {kind: _count(names if executed is None else executed, of) for kind, of in _KINDS.items()}
    asked = sum(_count(names, of) for of in (*_KINDS.values(), _LAYERS))
    return Counter(found | {"float": asked - sum(found.values())})


def _count(names: Mapping[str, int], beginnings: tuple[str, ...]) -> int:
    return sum(count for name, count in names.items() if name.startswith(beginnings))


def _name(node: fx.Node) -> str:
    """Give an operator's name without its name space and overload."""
    return str(node.target).split(".")[1 if "." in str(node.target) else 0]


def _on(example: Split, device: torch.device) -> Split:
    return Split(tuple(tensor.to(device) for tensor in example.inputs), None, ())
