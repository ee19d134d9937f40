"""When a target is visited: every so often, or as cron says it; kept in a file, so that a restart forgets nothing."""

from __future__ import annotations

import datetime
import json
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from apscheduler.job import Job
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from autoshrink.core import SpecError
from autoshrink.core.documents import Frozen

__all__ = ["JsonJobStore", "Schedule"]

_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SHORTEST = 1.0


class Schedule(Frozen):
    """Every so many seconds, or a cron line in the machine's time zone; one of the two."""

    every: float | None = None
    cron: str | None = None

    def trigger(self) -> IntervalTrigger | CronTrigger:
        """Make APScheduler's trigger.

        Raises:
            SpecError: the cron line can't be read, or the interval is shorter than a second.
        """
        if self.cron is None:
            if self.every is None or self.every < _SHORTEST:
                raise SpecError('--every: write a time of at least a second, such as "6h"')
            return IntervalTrigger(seconds=self.every)
        fields = self.cron.split()
        if len(fields) != 5:
            raise SpecError(f'--cron {self.cron!r}: write minute, hour, day, month and weekday, such as "0 3 * * *"')
        minute, hour, day, month, weekday = fields
        if day != "*" and weekday != "*":
            raise SpecError(f"--cron {self.cron!r}: give the day of the month or the weekday and * for the other")
        try:
            return CronTrigger(minute=minute, hour=hour, day=day, month=month, day_of_week=_weekdays(weekday))
        except ValueError as error:
            raise SpecError(f"--cron {self.cron!r}: {error}") from None


def _weekdays(field: str) -> str:
    """Name the days that cron counts from Sunday; APScheduler counts them from Monday."""
    days: set[str] = set()
    for part in field.lower().split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        if span == "*" and not step:
            return "*"
        low, high = (0, 6) if span == "*" else (_day(first), _day(last if dash else first))
        if dash and high < low:
            high += 7
        if not (step or "1").isdigit() or step == "0":
            raise ValueError(f"{field!r} is no weekday")
        days |= {_DAYS[day % 7] for day in range(low, high + 1, int(step or 1))}
    return ",".join(sorted(days, key=_DAYS.index))


def _day(name: str) -> int:
    if name in _DAYS:
        return _DAYS.index(name)
    if name.isdigit() and int(name) <= 7:
        return int(name)
    raise ValueError(f"{name!r} is no weekday")


class JsonJobStore(MemoryJobStore):  # type: ignore[misc] # APScheduler has no types
    """APScheduler's jobs in a file of JSON: its own persistent stores pickle them, and nothing here is unpickled.

    A job has the target's file as its only argument, and as its name the schedule. A visit that was begun and did not
    come to its end is due at once when the file is read again.
    """

    def __init__(self, path: Path, visit: Callable[[str], None]) -> None:
        """Prepare.

        Args:
            path: the file; it is read when the scheduler starts.
            visit: what every job calls, with the target's file.
        """
        super().__init__()
        self._path = path
        self._visit = visit
        self._visiting: set[str] = set()
        self._ready = False
        self._writing = threading.RLock()

    def start(self, scheduler: Any, alias: str) -> None:
        """Read what was kept; a file that is damaged is put aside, and every target is visited at once."""
        super().start(scheduler, alias)
        for entry in self._read():
            MemoryJobStore.add_job(self, self._job(entry))
        self._ready = True

    def add_job(self, job: Job) -> None:
        """Keep a new job."""
        with self._writing:
            super().add_job(job)
            self._write()

    def update_job(self, job: Job) -> None:
        """Keep a job's next time."""
        with self._writing:
            super().update_job(job)
            self._write()

    def remove_job(self, job_id: str) -> None:
        """Forget a job."""
        with self._writing:
            super().remove_job(job_id)
            self._write()

    def shutdown(self) -> None:
        """Let go of the jobs, and leave the file as it is."""
        self._ready = False
        super().shutdown()

    def get_due_jobs(self, now: datetime.datetime) -> list[Job]:
        """Give the jobs that are due; from here to `visited` they count as begun, also while they wait in a queue."""
        due: list[Job] = super().get_due_jobs(now)
        with self._writing:
            self._visiting |= {job.id for job in due}
        return due

    def visited(self, job_id: str) -> None:
        """Note that a visit has come to its end."""
        with self._writing:
            self._visiting.discard(job_id)
            self._write()

    def _job(self, entry: Mapping[str, Any]) -> Job:
        schedule = Schedule.model_validate(entry["schedule"])
        trigger = schedule.trigger()
        due = datetime.datetime.fromisoformat(entry["next"])
        now = datetime.datetime.now(due.tzinfo)
        due = min(due, trigger.get_next_fire_time(None, now) or due)  # the clock may have been set back since
        job = Job(
            self._scheduler,
            id=entry["id"],
            func=self._visit,
            args=(entry["id"],),
            kwargs={},
            trigger=trigger,
            name=schedule.model_dump_json(exclude_none=True),
            executor="default",
            misfire_grace_time=None,
            coalesce=True,
            max_instances=1,
            next_run_time=now if entry.get("visiting") else due,
        )
        job._jobstore_alias = self._alias
        return job

    def _read(self) -> list[Mapping[str, Any]]:
        if not self._path.exists():
            return []
        try:
            kept: list[Mapping[str, Any]] = json.loads(self._path.read_text(encoding="utf-8"))["jobs"]
            for entry in kept:
                self._job(entry)
        except (ValueError, KeyError, TypeError, SpecError):
            self._path.replace(self._path.with_suffix(".damaged"))
            return []
        return kept

    def _write(self) -> None:
        if not self._ready:
            return
        with self._writing:  # a visit that ends meets the scheduler that begins another
            jobs = [
                {
                    "id": job.id,
                    "schedule": json.loads(job.name),
                    "next": job.next_run_time.isoformat(),
                    "visiting": job.id in self._visiting,
                }
                for job in self.get_all_jobs()
            ]
            partial = self._path.with_suffix(".partial")
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with partial.open("w", encoding="utf-8") as file:
                    file.write(json.dumps({"jobs": jobs}, indent=1) + "\n")
                    file.flush()
                    os.fsync(file.fileno())
                partial.replace(self._path)
            except (
                OSError
            ) as error:  # a full disk: the schedule goes on, and a restart goes back to the last that was kept
                self._logger.error("%s can't be written: %s", self._path, error)
