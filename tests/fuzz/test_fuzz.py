"""Hostile input of every kind ends as success or as one clean error: never in a traceback, a hang or a crash.

Few cases, the same each time. Many: ``FUZZ_CASES=5000 pytest tests/fuzz``, or for minutes, guided by the code
that they reach: ``python benchmarks/fuzz.py --minutes 10``.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoshrink.core import AutoshrinkError

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))

from fuzz_subjects import SUBJECTS, Subject  # noqa: E402

CASES = int(os.environ.get("FUZZ_CASES", "0"))
SETTINGS = settings(
    max_examples=CASES or 50,
    derandomize=not CASES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
HERE = [name for name, subject in SUBJECTS.items() if not subject.slow]
RUNTIMES = [name for name, subject in SUBJECTS.items() if subject.slow]


def check(subject: Subject, content: bytes) -> None:
    """Read a case; whatever else than a clean error is raised fails the test."""
    with tempfile.TemporaryDirectory(prefix="autoshrink-fuzz-") as folder:
        try:
            subject.read(content, Path(folder))
        except (AutoshrinkError, *subject.allowed) as error:
            if not str(error).strip():
                raise ValueError("an error without a message") from error


@pytest.mark.parametrize("name", SUBJECTS)
def test_valid_examples_are_read(name: str, tmp_path: Path) -> None:
    subject = SUBJECTS[name]
    for number, content in enumerate(subject.seeds()[: 1 if subject.slow else None]):
        (tmp_path / str(number)).mkdir()
        subject.read(content, tmp_path / str(number))


@pytest.mark.parametrize("name", HERE)
@SETTINGS
@given(number=st.integers(0, 2**32), times=st.integers(1, 3), which=st.integers(0, 99))
def test_valid_examples_that_were_changed_are_read_or_refused(name: str, number: int, times: int, which: int) -> None:
    subject, rng = SUBJECTS[name], random.Random(number)
    seeds = subject.seeds()
    content = seeds[which % len(seeds)]
    for _ in range(times):
        try:
            content = subject.mutate(content, rng)
        except Exception:  # what is broken already can't be changed by its structure
            break
    check(subject, content)


@pytest.mark.parametrize("name", HERE)
@SETTINGS
@given(content=st.binary(max_size=300) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_anything_at_all_is_read_or_refused(name: str, content: bytes) -> None:
    check(SUBJECTS[name], content)


@pytest.mark.parametrize("name", RUNTIMES)
@pytest.mark.parametrize("number", range(CASES or 3))
def test_what_a_runtime_makes_of_it_does_not_reach_this_process(name: str, number: int) -> None:
    subject, rng = SUBJECTS[name], random.Random(number)
    check(subject, subject.mutate(subject.seeds()[0], rng))


def test_a_runtime_that_crashes_is_a_clean_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An adapter that dies of a segmentation fault where the model is loaded, as runtimes do on hostile files."""
    from autoshrink.backends.onnxruntime.backend import OnnxRuntime

    adapter = tmp_path / "adapter.py"
    adapter.write_text("import ctypes\n\ndef load(path, options):\n    ctypes.string_at(0)\n")
    monkeypatch.setattr(OnnxRuntime, "adapter", adapter)
    subject = SUBJECTS["onnx in its runtime"]
    with pytest.raises(AutoshrinkError, match="the process died of SIGSEGV"):
        subject.read(subject.seeds()[0], tmp_path)


def test_the_command_reports_cases_and_findings() -> None:
    """A few seconds, guided by atheris."""
    command = [sys.executable, str(BENCHMARKS / "fuzz.py"), "--minutes", "0.05", "--only", "quantity"]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "guided by atheris" in answer.stdout
    cases, told = answer.stdout.strip().splitlines()[-1].split(" cases tried, ")
    assert int(cases) > 20
    assert told == "0 findings"


def test_what_is_wrong_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial of a careless reader: exceptions, hangs and empty messages are findings, alike ones once."""
    monkeypatch.setattr("sys.path", [*sys.path, str(BENCHMARKS)])
    import fuzz

    def careless(content: bytes, folder: Path) -> object:
        if content == b"loop":
            while True:
                pass
        if content == b"mute":
            raise AutoshrinkError("")
        return {b"known": 1}[content]

    monkeypatch.setitem(SUBJECTS, "careless", Subject(lambda: [b"known"], lambda seed, rng: seed, careless))
    monkeypatch.setattr(fuzz, "PATIENCE", 0.2)
    trial = fuzz.Trial("careless", 60, tmp_path / "report.json")
    for content in (b"known", b"other", b"else", b"mute", b"loop"):
        trial.case(content)
    assert trial.tried.cases == 5
    kinds = sorted(name.partition(" at ")[0] for name in trial.tried.findings)
    assert kinds == ["HangError", "KeyError", "an error without a message"]
