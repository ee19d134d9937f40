"""What every test needs, and what a partial run is not judged by."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from adb_phone import Phone
from hypothesis import settings
from ssh_server import SSHD, Sshd

# Set before torch, NumPy or a runtime is imported: tests share two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

# A busy machine is no reason to fail.
settings.register_profile("autoshrink", deadline=None)
settings.load_profile("autoshrink")

TESTS = Path(__file__).parent
LONG = ("benchmarks", "cli", "examples", "service", "ui", "search", "conformance")
"""The rooms with the longest tests, the longest first."""

MODEL = """\
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, 10))
"""

DATA = """\
import numpy as np
from sklearn.datasets import load_digits

def splits():
    digits = load_digits()
    x, y = (digits.images / 16).astype("float32"), digits.target
    return {"train": (x[:900], y[:900]), "validation": (x[900:1300], y[900:1300]), "test": (x[1300:], y[1300:])}
"""

TARGET = """\
model: model.py:build
weights: weights.safetensors
data: data.py:splits
metric: accuracy
accuracy: {max_drop: 0.05}
hardware: cpu
budget: {latency: 5 ms, size: 1 MB}
search:
  space:
    steps:
      - {kind: channel_pruning, optional: true, ratio: {low: 0.1, high: 0.8}}
      - {kind: distillation, temperature: {low: 1, high: 8, log: true}, alpha: {low: 0.1, high: 0.9}, epochs: 2}
      - {kind: quantization, weight_bits: [32, 8], scheme: static}
  candidates: 6
  workers: 2
"""

TRAIN = """\
import torch, safetensors.torch
from model import build
from data import splits

x, y = (torch.as_tensor(part) for part in splits()["train"])
model = build()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for step in range(150):
    loss = torch.nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad(); loss.backward(); optimizer.step()
safetensors.torch.save_file(model.state_dict(), "weights.safetensors")
"""


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Give the models in a file's tables the same weights in every run, whatever was imported before."""
    if isinstance(collector, pytest.Module):
        torch.manual_seed(0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the rooms with the longest tests first: one that begins last would run on while the others are done."""
    order = {room: number for number, room in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path.relative_to(TESTS).parts[0], len(order)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let the other processes of a run (``-n 3``) wait while a test takes times: it is marked ``alone``.

    Whoever waits to be alone stands in the turnstile, so that nobody else begins meanwhile.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return (yield)
    alone = item.get_closest_marker("alone") is not None
    with Path(__file__).open() as lock:
        with Path(__file__).with_name("headless.py").open() as turnstile:
            fcntl.flock(turnstile, fcntl.LOCK_EX)
            fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        return (yield)


def pytest_runtest_setup() -> None:
    """Give each test the same random numbers, run by itself or after others."""
    torch.manual_seed(0)


def pytest_configure(config: pytest.Config) -> None:
    """Hold only a run of everything to the least coverage."""
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS and not (
        config.option.keyword or config.option.markexpr
    )
    coverage = config.pluginmanager.get_plugin("_cov")
    if coverage is not None and not whole:
        coverage.options.cov_fail_under = 0


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with trained weights, to be copied."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "model.py").write_text(MODEL)
    (folder / "data.py").write_text(DATA)
    (folder / "target.yaml").write_text(TARGET)
    (folder / "train.py").write_text(TRAIN)
    subprocess.run([sys.executable, "train.py"], cwd=folder, check=True)
    return folder


@pytest.fixture
def edit(project: Path) -> Callable[[str, str, str], None]:
    """Replaces a text in one of the project's files."""

    def replace(name: str, old: str, new: str) -> None:
        text = (project / name).read_text()
        assert old in text
        (project / name).write_text(text.replace(old, new))

    return replace


@pytest.fixture(scope="session")
def environments() -> None:
    """The environments of runtimes that need their own, where the user's are: made by the first run of the tests."""
    command = [sys.executable, "-m", "autoshrink", "doctor", "--setup", "mxnet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def ssh_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys of a host and of a user, and what an SSH server has to know."""
    if not Path(SSHD).exists():
        pytest.skip("no SSH server to connect to: apt-get install openssh-server")
    folder = tmp_path_factory.mktemp("ssh")
    for name in ("host", "user", "stranger"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "allowed").write_text((folder / "user.pub").read_text())
    (folder / "server").write_text(
        f"HostKey {folder}/host\nAuthorizedKeysFile {folder}/allowed\nPidFile none\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
        "AcceptEnv XDG_CACHE_HOME\n"
    )
    return folder


@pytest.fixture
def sshd(ssh_keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    """Start an SSH server, and have ``ssh`` know its key and the user's, as the user's own configuration would."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    folder = tmp_path / "ssh"
    (folder / "bin").mkdir(parents=True)
    kind, key = (ssh_keys / "host.pub").read_text().split()[:2]
    (folder / "known").write_text(f"[127.0.0.1]:{port} {kind} {key}\n")
    (folder / "config").write_text(
        f"IdentityFile {ssh_keys}/user\nIdentitiesOnly yes\nUserKnownHostsFile {folder}/known\n"
        f"GlobalKnownHostsFile none\nStrictHostKeyChecking yes\nSetEnv XDG_CACHE_HOME={tmp_path}/cache\n"
    )
    # The client that users have, which reads its settings from the home of the account and not from $HOME.
    (folder / "bin" / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/config "$@"\n')
    (folder / "bin" / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}/bin{os.pathsep}{os.environ['PATH']}")
    server = Sshd(port, ssh_keys / "server", folder)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def adb_phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Phone]:
    """Start what answers as a phone does, and a server of ADB's that is this test's own."""
    client = shutil.which("adb")
    if client is None:
        pytest.skip("no client for phones: apt-get install adb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(free.getsockname()[1]))
    monkeypatch.setenv("HOME", str(tmp_path))  # where the client keeps its key
    monkeypatch.setenv("ANDROID_ADB_LOG_PATH", str(tmp_path / "adb.log"))
    monkeypatch.delenv("ANDROID_SERIAL", raising=False)
    phone = Phone(tmp_path / "phone")
    phone.start()
    yield phone
    phone.stop()
    subprocess.run([client, "kill-server"], check=False, capture_output=True)
