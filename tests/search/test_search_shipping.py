"""What travels to the nodes of a cluster, and what does not."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from autoshrink.core import SpecError, Target
from autoshrink.search import shipping

TARGET = """\
model: model.py:build
weights: {weights}
data: data.py:splits
accuracy: {{max_drop: 0.01}}
hardware: cpu
search: {{space: small, candidates: 3}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    files = ["model.py", "parts/layer.py", ".git/config", ".autoshrink/one/x", "venv/pyvenv.cfg", "venv/lib/torch.py"]
    for name in [*files, "mlruns/0/meta.yaml", "__pycache__/model.pyc", "mlflow.db", "weights.safetensors"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "data.npz").write_text("far")
    (folder / "linked").symlink_to(tmp_path / "far")
    (folder / "parts" / "up").symlink_to(folder)
    return folder


def read(folder: Path, weights: str = "weights.safetensors") -> Target:
    (folder / "target.yaml").write_text(TARGET.format(weights=weights))
    return Target.read(folder / "target.yaml")


def test_code_data_and_this_package_travel_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    archive = shipping.pack(read(folder), tmp_path / "a.zip")
    with zipfile.ZipFile(archive) as packed:
        names = set(packed.namelist())
        assert packed.read("target/linked/data.npz") == b"far", "what a link leads to"
    mine = {name.removeprefix("target/") for name in names if name.startswith("target/")}
    assert mine == {"", "model.py", "parts/layer.py", "target.yaml", "weights.safetensors", "linked/data.npz"}
    assert {"autoshrink/__init__.py", "autoshrink/search/workers.py", "autoshrink/devices/harness/agent.py"} < names
    (folder / "model.py").touch()
    assert shipping.pack(read(folder), tmp_path / "b.zip").read_bytes() == archive.read_bytes(), "nodes have it already"


def test_a_file_elsewhere_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").touch()
    for weights in ("../w.safetensors", str(tmp_path / "w.safetensors")):
        with pytest.raises(SpecError, match=r"target\.yaml:2: weights: .*w\.safetensors is not in the target's folder"):
            shipping.pack(read(folder, weights), tmp_path / "a.zip")


def test_too_much_is_refused_and_the_largest_named(folder: Path, tmp_path: Path) -> None:
    with (folder / "parts" / "images.bin").open("wb") as file:
        file.truncate(shipping.LIMIT + 1)
    with pytest.raises(SpecError, match=r"where 250 MB can be; the largest: parts/images\.bin \(250 MB\), "):
        shipping.pack(read(folder), tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()
