"""Visits targets on a schedule: each visit is ``autoshrink reoptimize`` in a process of its own, one at a time."""

from __future__ import annotations

import datetime
import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from autoshrink.core import SpecError, content_key
from autoshrink.service.schedule import JsonJobStore, Schedule

__all__ = ["Watch", "visit"]

_PATIENCE = 90.0
"""Seconds that a search has to come to a clean end."""
_LAST_LINES = 5
_INTERRUPTED = 130
_WHOLE = (0, 3)
"""Exit codes of a visit that came to its end."""

Say = Callable[[str], None]


class Watch:
    """Targets with their schedules, kept in a file beside the searches, and the visit that is under way."""

    def __init__(self, root: Path, say: Say, options: Sequence[str] = (), environment: Mapping[str, str] | None = None):
        """Prepare.

        Args:
            root: the folder that holds all searches.
            say: is told what happens, a line each.
            options: of every ``autoshrink reoptimize``.
            environment: what it finds in its environment beside ours.
        """
        self._root = root
        self._say = say
        self._options = tuple(options)
        self._environment = dict(environment or {})
        self._stop = threading.Event()
        self._signal = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._jobs = JsonJobStore(root / ".watch" / "watch.json", self._visit)

    def run(self, targets: Sequence[Path], schedule: Schedule) -> int:
        """Watch until SIGTERM or Ctrl-C.

        Args:
            targets: whose schedules take the place of those that were kept; without any, those are gone on with.
            schedule: of each.

        Returns:
            The exit code: 0 after SIGTERM, 130 after Ctrl-C.

        Raises:
            SpecError: there is nothing to watch, or the searches' folder is being watched already.
        """
        logging.getLogger("apscheduler").setLevel(logging.ERROR)  # a visit that takes longer than its interval is none
        with _alone(self._root), self._signals():
            scheduler = BackgroundScheduler(
                jobstores={"default": self._jobs}, executors={"default": ThreadPoolExecutor(1)}
            )
            scheduler.start(paused=True)
            try:
                self._plan(scheduler, targets, schedule)
                scheduler.resume()
                self._stop.wait()
            finally:
                self._end_visit()
                scheduler.shutdown(wait=True)
        self._say("ended; the schedule is kept")
        return _INTERRUPTED if self._signal == signal.SIGINT else 0

    def _plan(self, scheduler: Any, targets: Sequence[Path], schedule: Schedule) -> None:
        wanted = {str(path.resolve()): path for path in targets}
        kept = {job.id: job for job in scheduler.get_jobs()}
        if not wanted and not kept:
            raise SpecError("name a target's file to watch, such as: autoshrink watch target.yaml")
        name = schedule.model_dump_json(exclude_none=True)
        for number in kept.keys() - wanted.keys() if wanted else ():
            scheduler.remove_job(number)
        for number in wanted:
            if number not in kept or kept[number].name != name:
                scheduler.add_job(
                    self._visit,
                    schedule.trigger(),
                    id=number,
                    name=name,
                    args=(number,),
                    misfire_grace_time=None,
                    coalesce=True,
                    max_instances=1,
                    next_run_time=datetime.datetime.now(scheduler.timezone),
                    replace_existing=True,
                )
        for job in scheduler.get_jobs():
            self._say(f"{_short(job.id)}: {_words(job.name)}, next at {job.next_run_time:%Y-%m-%d %H:%M:%S %Z}")

    def _visit(self, file: str) -> None:
        if self._stop.is_set():
            return  # it is due at the next start
        code = visit(Path(file), self._root, self._say, self._options, self._environment, self._started)
        self._process = None
        if not self._stop.is_set() or code in _WHOLE:
            self._jobs.visited(file)

    def _started(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        if self._stop.is_set():
            self._end_visit()

    def _end_visit(self) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def stop(number: int, frame: FrameType | None) -> None:
            self._signal = number
            self._stop.set()

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def visit(
    file: Path,
    root: Path,
    say: Say,
    options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    started: Callable[[subprocess.Popen[bytes]], None] = lambda process: None,
) -> int:
    """Run ``autoshrink reoptimize`` on one target, and say what came of it.

    Args:
        file: the target's.
        root: the folder that holds all searches.
        say: is told.
        options: of the command.
        environment: what it finds in its environment beside ours.
        started: is given the process, to end it early.

    Returns:
        Its exit code.
    """
    folder = root / ".watch"
    folder.mkdir(parents=True, exist_ok=True)
    name = content_key(str(file))
    log, answer = folder / f"{name}.log", folder / f"{name}.json"
    answer.unlink(missing_ok=True)
    command = [sys.executable, "-m", "autoshrink", "reoptimize", str(file), "--store", str(root), "--json", str(answer)]
    with log.open("wb") as output:
        # In a session of its own: Ctrl-C at a terminal is for us, who pass it on.
        process = subprocess.Popen(
            [*command, *options],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        started(process)
        code = process.wait()
    say(f"{_short(str(file))}: {_outcome(code, answer, log)}")
    return code


def _outcome(code: int, answer: Path, log: Path) -> str:
    if code == _INTERRUPTED:
        return "interrupted; the next visit goes on with it"
    if not answer.is_file():
        lines = log.read_text(errors="replace").strip().splitlines()[-_LAST_LINES:]
        return f"failed with exit code {code}, see {log}: {' / '.join(line.strip() for line in lines)}"
    found = json.loads(answer.read_text(encoding="utf-8"))
    if found["event"] == "unchanged":
        words = f"nothing has changed since {found['earlier']}"
    else:
        moved = [
            f"{item['model']}{'@' + item['alias'] if item['alias'] else ''} is version {item['version']} now"
            for item in found["registered"]
            if item["version"] is not None
        ]
        before, after = (len(found["front"][when]) for when in ("before", "after"))
        front = f"a front of {after}, where {found['earlier']} had {before}"
        words = "; ".join([f"searched again as {found['search']} ({'; '.join(found['reasons'])}): {front}", *moved])
    return "; ".join([words, *found.get("untold", [])])


def _short(file: str) -> str:
    relative = os.path.relpath(file)
    return file if relative.startswith("..") else relative


def _words(name: str) -> str:
    schedule = Schedule.model_validate_json(name)
    return f"cron {schedule.cron}" if schedule.cron is not None else f"every {schedule.every:g} s"


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    folder = root / ".watch"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "watch.lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SpecError(f"{root}/ is being watched by another process already") from None
        yield
