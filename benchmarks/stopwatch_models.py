"""The artifacts of stopwatch.py: the examples' networks in several widths, float and int8, from about 10 µs to 5 ms.

Weights are random: a dense network's latency depends on its shapes and number formats.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from autoshrink.backends.registry import backend
from autoshrink.core import Artifact, Encoding, Hardware
from autoshrink.models.splits import Split

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
DIGITS = ((2, 2, 2), (28, 56, 56), (64, 128, 128))
"""Channels of the digits example's three convolutions; the last are the example's own."""
RESNET = (14, 56, 160)
"""Channels of ResNet-8's first stage; the Fashion-MNIST example has 28, which is timed as the reference only."""
ENCODINGS = {"float32": Encoding(), "static int8": Encoding(scheme="static", weight_bits=8)}


@dataclass(frozen=True)
class Made:
    """An artifact in a folder of its own, with one example, and the name of its reference."""

    name: str
    folder: Path
    artifact: Artifact
    example: Split
    reference: str


def make_references(folder: Path, hardware: Hardware) -> dict[str, Made]:
    """Export the examples' own networks in float: what a search of that example times every candidate with."""
    digits, resnet = _digits(DIGITS[-1]), _resnet(_model("fashion_mnist").WIDTH)
    return {
        name: _made(name, name, network, "float32", folder / f"reference {name}", hardware)
        for name, network in (("digits", digits), ("resnet8", resnet))
    }


def make_artifacts(folder: Path, hardware: Hardware) -> Iterator[Made]:
    """Export the 12 artifacts."""
    networks = [("digits", f"digits {widths[0]}-{widths[1]}-{widths[2]}", _digits(widths)) for widths in DIGITS]
    networks += [("resnet8", f"ResNet-8 w{width}", _resnet(width)) for width in RESNET]
    for reference, name, network in networks:
        for encoding in ENCODINGS:
            full = f"{name} {encoding}"
            yield _made(full, reference, network, encoding, folder / full, hardware)


def _made(name: str, reference: str, network: nn.Module, encoding: str, folder: Path, hardware: Hardware) -> Made:
    folder.mkdir(parents=True)
    size = 8 if reference == "digits" else 28
    images = torch.rand(64, 1, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        network.train()(images)  # statistics of batch normalization that fit the random weights
    calibration, example = Split((images,)), Split((images[:1],))
    artifact = backend(hardware.backend).export(
        network.eval(), example, ENCODINGS[encoding], calibration, folder, hardware
    )
    return Made(name, folder, artifact, example, reference)


def _digits(channels: tuple[int, int, int]) -> nn.Module:
    definition = _model("digits")
    definition.CHANNELS = channels  # type: ignore[attr-defined]
    torch.manual_seed(0)
    network: nn.Module = definition.build()
    return network


def _resnet(width: int) -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = _model("fashion_mnist").ResNet8(width)
    return network


def _model(example: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{example}_model", EXAMPLES / example / "model.py")
    if spec is None or spec.loader is None:
        raise ImportError(f"no model.py in the example {example}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
