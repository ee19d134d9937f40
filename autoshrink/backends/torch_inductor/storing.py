"""Weights that are stored in fewer bits, and widened once when the file is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoshrink.core import Refusal

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from autoshrink.core import Encoding
    from autoshrink.models.splits import Split

__all__ = ["store"]

_SMALLEST = 64
"""Elements below which scales take more than the bits that are saved."""


class _Half(nn.Module):
    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.stored = nn.Buffer(weight.half())

    def forward(self) -> Tensor:
        return self.stored.float()


class _Int8(nn.Module):
    """A scale for each row, which is an output channel, or one for all."""

    def __init__(self, weight: Tensor, per_channel: bool) -> None:
        super().__init__()
        extremes = weight.abs().amax(tuple(range(1, weight.dim())), keepdim=True) if per_channel else weight.abs().max()
        scale = (extremes / 127).clamp_min(torch.finfo(torch.float32).tiny)
        self.stored, self.scale = nn.Buffer((weight / scale).round().to(torch.int8)), nn.Buffer(scale)

    def forward(self) -> Tensor:
        return self.stored.float() * self.scale


class _Int4(nn.Module):
    """Two weights in a byte, a scale in 16 bits for each block of a row."""

    def __init__(self, weight: Tensor, block: int) -> None:
        super().__init__()
        self.shape, self.length = weight.shape, weight[0].numel()
        rows = functional.pad(weight.flatten(1), (0, -self.length % block)).view(len(weight), -1, block)
        scale = (rows.abs().amax(-1, keepdim=True) / 7).clamp_min(2**-24).half()
        whole = (rows / scale.float()).round().clamp(-8, 7).add(8).to(torch.uint8)
        self.stored, self.scale = nn.Buffer(whole[..., 0::2] | whole[..., 1::2] << 4), nn.Buffer(scale)

    def forward(self) -> Tensor:
        whole = torch.stack([self.stored & 15, self.stored >> 4], -1).flatten(-2)
        rows: Tensor = ((whole.float() - 8) * self.scale.float()).flatten(1)
        return rows[:, : self.length].reshape(self.shape)


def store(program: ExportedProgram, example: Split, encoding: Encoding) -> tuple[ExportedProgram, int]:
    """Store the weights of a float program in 16, 8 or 4 bits.

    Args:
        program: in 32 bits.
        example: one example.
        encoding: the number formats.

    Returns:
        The program, and how many weights are stored so.

    Raises:
        Refusal: a weight is beyond the range of half floats.
    """
    module: Any = program.module(check_guards=False)
    widened: dict[int, str] = {}
    for node in [node for node in module.graph.nodes if node.op == "get_attr"]:
        place, _, name = str(node.target).rpartition(".")
        owner = module.get_submodule(place)
        weight = getattr(owner, name, None)
        if not isinstance(weight, Tensor) or weight.dtype != torch.float32:
            continue
        if weight.dim() < 2 or weight.numel() < _SMALLEST:
            continue
        if weight.data_ptr() not in widened:
            widened[weight.data_ptr()] = f"widened_{len(widened)}"
            module.add_submodule(widened[weight.data_ptr()], _narrow(weight.detach(), encoding))
        with module.graph.inserting_after(node):
            wide = module.graph.call_module(widened[weight.data_ptr()])
        node.replace_all_uses_with(wide)
        module.graph.erase_node(node)
    used = {str(node.target) for node in module.graph.nodes if node.op == "get_attr"}
    for name, _ in [*module.named_parameters(), *module.named_buffers()]:
        place, _, leaf = name.rpartition(".")
        if name not in used and not place.startswith("widened_"):
            delattr(module.get_submodule(place), leaf)
    module.recompile()
    return torch.export.export(module, example.inputs, strict=False), len(widened)


def _narrow(weight: Tensor, encoding: Encoding) -> nn.Module:
    if encoding.weight_bits == 16:
        largest = float(weight.abs().max())
        if largest > torch.finfo(torch.float16).max:
            raise Refusal(f"float16 can't hold a weight of {largest:.3g}; the largest half float is 65504")
        return _Half(weight)
    if encoding.weight_bits == 8:
        return _Int8(weight, encoding.granularity == "per_channel")
    return _Int4(weight, encoding.block_size)
