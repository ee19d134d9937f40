"""A target without a line of code: what the small project is, as an ONNX file and an .npz."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from autoshrink.core import Source
from autoshrink.models.exporting import quiet
from autoshrink.models.user_code import UserCode

__all__ = ["make_data_only"]


def make_data_only(project: Path) -> None:
    """Put the project's model and data into files of plain numbers, and remove its code."""
    code = UserCode(Source("target.yaml", folder=project))
    splits = code.function("data.py:splits", ())()
    model = code.function("model.py:build", ())().eval()
    safetensors.torch.load_model(model, project / "weights.safetensors")
    example = torch.from_numpy(splits["test"][0][:1])
    with quiet():
        # As most files are that people have: by the exporter's defaults, for one example.
        torch.onnx.export(model, (example,), project / "net.onnx", dynamo=False)
    arrays = {f"{name}_inputs": inputs for name, (inputs, _) in splits.items()}
    arrays |= {f"{name}_labels": labels for name, (_, labels) in splits.items()}
    np.savez_compressed(project / "digits.npz", **arrays)
    for file in (*project.glob("*.py"), project / "weights.safetensors"):
        file.unlink()
    target = (project / "target.yaml").read_text().replace("model.py:build", "net.onnx")
    target = target.replace("weights: weights.safetensors\n", "").replace("data.py:splits", "digits.npz")
    (project / "target.yaml").write_text(target)
