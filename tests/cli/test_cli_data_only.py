"""A target without a line of code: an ONNX file and an .npz, searched from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import safetensors.torch
import torch
from commands import autoshrink

from autoshrink.core import Source
from autoshrink.models.exporting import quiet
from autoshrink.models.user_code import UserCode


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


def test_a_folder_without_code_is_searched(project: Path) -> None:
    make_data_only(project)
    assert not list(project.glob("*.py"))
    autoshrink("search", "target.yaml", "--name", "one", "--candidates", "3", "--json", "out.json", cwd=project)
    document = json.loads((project / "out.json").read_text())
    assert document["front"]
    assert len(document["candidates"]) == 1 + 3
    assert {item["state"] for item in document["candidates"]} <= {"front", "dominated", "over_budget", "stopped"}
    with np.load(project / "digits.npz") as arrays:
        images, labels = arrays["test_inputs"], arrays["test_labels"]
    best = next(item for item in document["candidates"] if item["state"] == "front")
    for item, file in ((document["baseline"], project / "net.onnx"), (best, project / best["artifact"]["files"][0])):
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        right = [session.run(None, {name: image[None]})[0].argmax() for image in images] == labels
        assert abs(np.mean(right) - item["accuracy"]["test"]) < 0.003
