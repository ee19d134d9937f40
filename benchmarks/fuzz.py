"""Hostile input of every kind: does each end as success or as one clean error, never in a traceback, a hang or a crash?

    python benchmarks/fuzz.py --minutes M [--only SUBJECT …] [--seed N] [--keep FOLDER] [--json]

Each subject is read in a process of its own: target files, profiles, spaces, recipes, quantities, ONNX and TFLite
files, weights, arrays, what devices send back, and the files of a search; the last two run hostile models in the
runtimes themselves, as `autoshrink measure` does. Cases are valid files that were changed at random. Where atheris is
installed it chooses which of them to change further, by the code of autoshrink that they reached. A *finding* is an
exception that is not one of autoshrink's own errors, a case that takes over 5 s of processor time (90 s in a runtime),
an allocation far over what a reader needs, or the death of the process; alike ones count once.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

HERE = Path(__file__).resolve().parent
PATIENCE, LONGEST = 5, 90
"""Seconds of processor time that a case may take here, and of time in all, that in a runtime's own process with it."""
ROOM = 4 << 30
"""Bytes that a reader may take beyond what was loaded before it."""
SHOWN = 12
GUIDES = ["autoshrink.core", "autoshrink.models.onnx.check", "autoshrink.models.arrays", "autoshrink.models.weights"]
GUIDES += [
    "autoshrink.backends.cortex_m",
    "autoshrink.devices.parcel",
    "autoshrink.search",
    "autoshrink.tracking.cursor",
]
"""The code that atheris watches."""


class HangError(BaseException):
    """A case took too long; no reader may catch it."""


@dataclass
class Tried:
    """What became of one subject."""

    cases: int = 0
    refused: int = 0
    """Of these, how many ended in a clean error."""
    findings: dict[str, dict[str, str]] = field(default_factory=dict)
    """The first case of each, by where it was raised."""


class Trial:
    """Reads one case after the other and notes down what is wrong."""

    def __init__(self, name: str, seconds: float, report: Path) -> None:
        from fuzz_subjects import SUBJECTS

        from autoshrink.core import AutoshrinkError

        self.subject = SUBJECTS[name]
        self.clean = (AutoshrinkError, *self.subject.allowed)
        self.tried, self.report = Tried(), report
        self.end = time.monotonic() + seconds
        self.current = report.with_suffix(".case")
        self._written = 0.0
        for number in (signal.SIGVTALRM, signal.SIGALRM):
            signal.signal(number, _hang)

    def over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() > self.end

    def case(self, content: bytes) -> None:
        """Try one."""
        self.current.write_bytes(content)  # what killed the process, if it dies of it
        folder = Path(tempfile.mkdtemp(prefix="autoshrink-fuzz-"))
        signal.setitimer(signal.ITIMER_VIRTUAL, PATIENCE)
        signal.alarm(LONGEST)
        try:
            self.subject.read(content, folder)
        except self.clean as error:
            self.tried.refused += 1
            if not str(error).strip():
                self._find("an error without a message", error, content)
        except (Exception, HangError) as error:  # whatever it is, it is a finding
            self._find(type(error).__name__, error, content)
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.alarm(0)
            shutil.rmtree(folder, ignore_errors=True)
        self.tried.cases += 1
        if time.monotonic() - self._written > 0.5:
            self.write()

    def write(self) -> None:
        """Keep what is known so far: the next case may kill the process."""
        partial = self.report.with_suffix(".partial")
        partial.write_text(json.dumps(vars(self.tried)))
        partial.replace(self.report)
        self._written = time.monotonic()

    def _find(self, what: str, error: BaseException, content: bytes) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if "/autoshrink/" in frame.filename] or frames
        place = f"{Path(own[-1].filename).name}:{own[-1].lineno}"
        text = "".join(traceback.format_exception(error))[-3000:]
        case = {"what": f"{what}: {str(error)[:200]}", "trace": text, "case": base64.b64encode(content).decode()}
        self.tried.findings.setdefault(f"{what} at {place}", case)
        self.write()


def _hang(number: int, frame: FrameType | None) -> None:
    raise HangError("took too long")


def guided(trial: Trial, seed: int) -> None:
    """Let atheris choose the cases, until the time is up; it ends the process."""
    import atheris

    subject = trial.subject

    def mutate(content: bytes, most: int, number: int) -> bytes:
        rng = random.Random(number)
        base = content if content and rng.random() < 0.6 else rng.choice(seeds)
        try:
            return subject.mutate(base, rng)[:most]
        except Exception:  # what is changed already may be too broken to be changed by its structure
            return atheris.Mutate(content, most)

    def one(content: bytes) -> None:
        if trial.over():
            trial.write()
            os._exit(0)
        trial.case(content)

    seeds = subject.seeds()
    corpus = Path(tempfile.mkdtemp(prefix="autoshrink-corpus-"))
    for number, content in enumerate(seeds):
        (corpus / str(number)).write_bytes(content)
    options = [
        f"-seed={seed}",
        "-max_len=200000",
        "-timeout=0",
        "-rss_limit_mb=0",
        "-verbosity=0",
        "-print_final_stats=0",
    ]
    atheris.Setup([sys.argv[0], str(corpus), *options], one, custom_mutator=mutate)
    atheris.Fuzz()


def unguided(trial: Trial, seed: int) -> None:
    """Change valid examples at random, until the time is up."""
    rng, seeds = random.Random(seed), trial.subject.seeds()
    for content in seeds:
        trial.case(content)
    while not trial.over():
        content = trial.subject.mutate(rng.choice(seeds), rng)
        trial.case(content)
    trial.write()


def child(name: str, seconds: float, seed: int, report: Path, plain: bool) -> None:
    """Try one subject in this process."""
    warnings.simplefilter("ignore")
    sys.path.insert(0, str(HERE))
    if plain:
        trial = Trial(name, seconds, report)
    else:
        import atheris

        with atheris.instrument_imports(include=GUIDES):
            trial = Trial(name, seconds, report)
    trial.subject.seeds()
    if not trial.subject.slow:
        pages = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (pages + ROOM, pages + ROOM))
    (unguided if plain else guided)(trial, seed)


def attempt(name: str, seconds: float, seed: int, folder: Path, plain: bool) -> Tried:
    """Try one subject in a process of its own, which is started again where a case kills it."""
    total, begun = Tried(), time.monotonic()
    while (left := seconds - (time.monotonic() - begun)) > 1 or not total.cases:
        report = folder / f"{len(list(folder.iterdir()))}.json"
        command = [
            sys.executable,
            __file__,
            "--child",
            name,
            str(max(left, 1)),
            str(seed),
            str(report),
            str(int(plain)),
        ]
        ended = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if report.exists():
            read = Tried(**json.loads(report.read_text()))
            total.cases, total.refused = total.cases + read.cases, total.refused + read.refused
            total.findings = {**read.findings, **total.findings}
        if ended.returncode == 0:
            break
        case = report.with_suffix(".case")
        if not case.exists():
            raise SystemExit(f"{name}: can't be tried:\n{ended.stderr[-3000:]}")
        killed = {"what": f"ended with {ended.returncode}", "trace": ended.stderr[-3000:]}
        killed["case"] = base64.b64encode(case.read_bytes()).decode()
        total.findings.setdefault(f"the process died: {ended.returncode}", killed)
        seed += 1
        if len(total.findings) > SHOWN:
            break
    return total


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, required=True, help="in all")
    parser.add_argument("--only", nargs="+", metavar="SUBJECT", help="some of the subjects")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plain", action="store_true", help="without atheris")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="write the case of each finding there")
    parser.add_argument("--json", action="store_true", help="write results/fuzz.json as well")
    wanted = parser.parse_args(arguments)
    sys.path.insert(0, str(HERE))
    from fuzz_subjects import SUBJECTS
    from reporting import print_table, write_json

    names = wanted.only or list(SUBJECTS)
    plain, found = wanted.plain or not _has_atheris(), dict[str, Tried]()
    with tempfile.TemporaryDirectory(prefix="autoshrink-fuzz-") as folder:
        for name in names:
            # What runs in a runtime is hidden from atheris: another process reads it.
            blind = plain or SUBJECTS[name].slow
            found[name] = attempt(name, wanted.minutes * 60 / len(names), wanted.seed, Path(folder), blind)
    rows = [(name, tried.cases, tried.refused, len(tried.findings)) for name, tried in found.items()]
    cases, refused, findings = (sum(row[place] for row in rows) for place in (1, 2, 3))
    how = "changed at random" if plain else "guided by atheris"
    columns = ("hostile input", "cases tried", "clean errors", "findings")
    print_table(f"Fuzz, {how}", columns, [*rows, ("all", cases, refused, findings)])
    for name, tried in found.items():
        for number, (where, case) in enumerate(tried.findings.items()):
            print(f"{name}: {where}: {case['what']}")
            if wanted.keep:
                wanted.keep.mkdir(parents=True, exist_ok=True)
                stem = wanted.keep / f"{name.replace(' ', '-')}-{number}"
                stem.with_suffix(".case").write_bytes(base64.b64decode(case["case"]))
                stem.with_suffix(".txt").write_text(f"{where}\n{case['trace']}\n")
    if wanted.json:
        figures: dict[str, Any] = {
            name: {**vars(tried), "findings": list(tried.findings)} for name, tried in found.items()
        }
        write_json("fuzz", {"how": how, "seconds": wanted.minutes * 60, "subjects": figures})
    print(f"{cases} cases tried, {findings} findings")
    return 1 if findings else 0


def _has_atheris() -> bool:
    import importlib.util

    return importlib.util.find_spec("atheris") is not None


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        name, seconds, seed, report, plain = sys.argv[2:]
        child(name, float(seconds), int(seed), Path(report), plain == "1")
    else:
        sys.exit(main(sys.argv[1:]))
