"""What each number format buys in each runtime, on a ResNet-8 with 64 channels and on a small transformer.

    python benchmarks/runtimes.py [--quick]

Every format that a runtime claims is exported and timed in turn with the same runtime's fp32, in one process on one
pinned core: the ratio is fp32's latency over the format's, with its interval. Above 1 it is faster. Weights are random:
latency does not depend on them. ``--quick`` leaves the transformer out.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from reporting import print_table, write_json
from torch import Tensor, nn

from autoshrink.backends.base import DeployedBackend
from autoshrink.backends.measuring import measure
from autoshrink.backends.readiness import ready
from autoshrink.backends.registry import backend, kinds
from autoshrink.core import Encoding, Hardware, Refusal
from autoshrink.devices.local import Local
from autoshrink.models.splits import Split

FORMATS = {
    "fp16": Encoding(weight_bits=16),
    "static int8": Encoding(scheme="static", weight_bits=8),
    "dynamic int8": Encoding(scheme="dynamic", weight_bits=8),
    "dynamic int4": Encoding(scheme="dynamic", weight_bits=4),
    "weight-only int8": Encoding(scheme="weight_only", weight_bits=8),
    "weight-only int4": Encoding(scheme="weight_only", weight_bits=4),
}


class Block(nn.Module):
    def __init__(self, taken: int, given: int, stride: int) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(taken, given, 3, stride, 1), nn.Conv2d(given, given, 3, padding=1)
        self.way = nn.Conv2d(taken, given, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.two(torch.relu(self.one(x))) + self.way(x))


def resnet() -> tuple[nn.Module, Split]:
    """Build a ResNet-8 of 1.2 M parameters on images of 32×32 pixels."""
    body = (nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), Block(64, 64, 1), Block(64, 128, 2), Block(128, 256, 2))
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 10)), Split(
        (torch.randn(32, 3, 32, 32),)
    )


def encoder() -> tuple[nn.Module, Split]:
    """Build a transformer encoder of two layers on 64 vectors."""

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layer = nn.TransformerEncoderLayer(256, 4, 1024, batch_first=True, activation="gelu")
            self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.head = nn.Linear(256, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.body(x).mean(1))

    return Encoder(), Split((torch.randn(32, 64, 256),))


def compare(kind: str, build: Callable[[], tuple[nn.Module, Split]], folder: Path) -> list[dict[str, Any]]:
    """Time every format of a runtime in turn with its fp32."""
    runtime, hardware = backend(kind), Hardware(name=f"this CPU with {kind}", kind="cpu", backend=kind)
    torch.manual_seed(0)
    model, examples = build()
    example = examples.rows(slice(0, 1))

    def export(name: str, encoding: Encoding) -> Any:
        (folder / name).mkdir(parents=True)
        return folder / name, runtime.export(model.eval(), example, encoding, examples, folder / name, hardware)

    float_folder, float_artifact = export("fp32", Encoding())
    rows = []
    for name, encoding in FORMATS.items():
        if runtime.accepts(encoding, hardware):
            continue
        row: dict[str, Any] = {"runtime": kind, "format": name}
        rows.append(row)
        try:
            place, artifact = export(name, encoding)
        except Refusal as refusal:
            row["refused"] = str(refusal)
            continue
        found = measure(
            runtime, Local(), hardware, place, artifact, example, reference=(float_folder, float_artifact),
            wants=("latency", "size"), effort="thorough",
        ).measurement  # fmt: skip
        ratio = found.conditions["ratio"]
        row |= {"latency": found.metrics["latency"].value, "size": artifact.size / float_artifact.size}
        row |= {"speed-up": 1 / ratio["value"], "low": 1 / ratio["high"], "high": 1 / ratio["low"]}
        row["quiet"] = found.conditions["quiet"]
    return rows


def shown(row: dict[str, Any]) -> tuple[str, ...]:
    """Print one row."""
    if "refused" in row:
        return row["runtime"], row["format"], "", "", row["refused"][:60]
    speed = f"{row['speed-up']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
    return row["runtime"], row["format"], f"{1e6 * row['latency']:.0f} µs", speed, f"{row['size']:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the ResNet-8 alone")
    nets = {"resnet8_w64": resnet} if parser.parse_args().quick else {"resnet8_w64": resnet, "encoder": encoder}
    figures: dict[str, list[dict[str, Any]]] = {}
    for net, build in nets.items():
        rows: list[dict[str, Any]] = []
        for kind in kinds():
            if not isinstance(backend(kind), DeployedBackend):
                continue
            if missing := ready(Hardware(name=kind, kind="cpu", backend=kind)):
                print(f"left out: {missing}")
                continue
            with tempfile.TemporaryDirectory() as folder:
                rows += compare(kind, build, Path(folder))
        figures[net] = rows
        note = "speed-up over the runtime's own fp32, timed in turn; size as a share of fp32's"
        print_table(
            f"{net}: number formats",
            ("runtime", "format", "latency", "speed-up", "size"),
            [shown(row) for row in rows],
            note=note,
        )
    print(f"written: {write_json('runtimes', figures)}")


if __name__ == "__main__":
    main()
