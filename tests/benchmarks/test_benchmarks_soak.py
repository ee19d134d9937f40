"""The soak, in short: a few kills, and everything is there once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SOAK = Path(__file__).resolve().parents[2] / "benchmarks" / "soak.py"


def test_a_few_kills_lose_nothing_and_double_nothing() -> None:
    done = subprocess.run(
        [sys.executable, SOAK, "--kills", "4", "--candidates", "15"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " NO " not in done.stdout
    assert done.stdout.count(" yes ") >= 12
