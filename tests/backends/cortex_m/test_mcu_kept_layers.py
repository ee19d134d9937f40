"""Layers that stay in 8 bits beside 4: in the graph, counted, nearer to torch, and refused where nothing is higher."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from autoshrink.backends.cortex_m.artifact import counted
from autoshrink.backends.cortex_m.convert import convert
from autoshrink.backends.cortex_m.encodings import refused
from autoshrink.core import Encoding, Refusal
from autoshrink.models.splits import Split

INT4 = Encoding(scheme="static", weight_bits=4)


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU(),
        nn.Flatten(), nn.Linear(128, 10),
    ).eval()  # fmt: skip


def types(net: nn.Module, encoding: Encoding) -> list[str]:
    examples = Split((torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(1)),))
    graph = convert(net, examples.rows(slice(0, 1)), encoding, examples).graph
    assert counted(graph, encoding).get("kept", 0) == len(encoding.kept)
    weighted = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
    return [f"{op.kind} {graph.tensors[op.inputs[1]].dtype}" for op in graph.ops if op.kind in weighted]


@pytest.mark.parametrize(
    ("kept", "wanted"),
    [
        ((), ["CONV_2D int4", "DEPTHWISE_CONV_2D int4", "CONV_2D int4"]),
        (("0",), ["CONV_2D int8", "DEPTHWISE_CONV_2D int4", "CONV_2D int4"]),
        (("3", "6"), ["CONV_2D int4", "DEPTHWISE_CONV_2D int8", "FULLY_CONNECTED int8"]),
    ],
)
def test_kept_layers_have_8_bits(net: nn.Module, kept: tuple[str, ...], wanted: list[str]) -> None:
    assert types(net, INT4.model_copy(update={"kept": kept})) == wanted


def test_what_is_not_there_can_not_be_kept(net: nn.Module) -> None:
    with pytest.raises(Refusal, match="no layer of its own for 2"):
        types(net, INT4.model_copy(update={"kept": ("2",)}))


def test_nothing_is_above_8_bits() -> None:
    assert "above 8 bits" in refused(Encoding(scheme="static", weight_bits=8, kept=("0",)))
    assert not refused(INT4.model_copy(update={"kept": ("0",)}))
