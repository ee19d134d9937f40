"""A target without a line of code: an ONNX file and an .npz, searched from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
from commands import autoshrink
from data_only import make_data_only


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
