"""Schedules: cron's weekdays, and jobs that outlive the process."""

from __future__ import annotations

import datetime
import json
import threading
import time
from pathlib import Path

import pytest
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from autoshrink.core import SpecError
from autoshrink.service.schedule import JsonJobStore, Schedule

SATURDAY = datetime.datetime(2026, 11, 21, 12, tzinfo=datetime.UTC)


def next_time(cron: str) -> datetime.datetime:
    trigger = Schedule(cron=cron).trigger()
    trigger.timezone = datetime.UTC
    found: datetime.datetime = trigger.get_next_fire_time(None, SATURDAY)
    return found


@pytest.mark.parametrize(
    ("cron", "day", "hour"),
    [
        ("0 3 * * *", 22, 3),
        ("0 3 * * 0", 22, 3),  # Sunday, which APScheduler would take for Monday
        ("0 3 * * 7", 22, 3),
        ("0 3 * * 1", 23, 3),
        ("0 3 * * mon-fri", 23, 3),
        ("0 3 * * 5-7", 22, 3),
        ("0 3 * * fri,sat", 27, 3),
        ("0 3 * * */3", 22, 3),
        ("30 */6 * * *", 21, 12),
        ("0 3 24 * *", 24, 3),
    ],
)
def test_cron_means_what_cron_means(cron: str, day: int, hour: int) -> None:
    found = next_time(cron)
    assert (found.day, found.hour) == (day, hour)


@pytest.mark.parametrize(
    "cron", ["0 3 * *", "0 25 * * *", "0 3 * * 8", "0 3 * * someday", "0 3 13 * 5", "0 3 * * 1/0", "rm -rf / x"]
)
def test_a_line_that_cron_would_not_take_is_the_user_s_mistake(cron: str) -> None:
    with pytest.raises(SpecError, match="--cron"):
        Schedule(cron=cron).trigger()


def test_an_interval_below_a_second_is_the_user_s_mistake() -> None:
    with pytest.raises(SpecError, match="--every"):
        Schedule(every=0.01).trigger()


class Running:
    """A real scheduler on a file of jobs."""

    def __init__(self, path: Path) -> None:
        self.visited: list[str] = []
        self.seen = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self.jobs = JsonJobStore(path, self.visit)
        self.scheduler = BackgroundScheduler(
            jobstores={"default": self.jobs}, executors={"default": ThreadPoolExecutor(1)}
        )
        self.scheduler.start()

    def visit(self, name: str) -> None:
        self.visited.append(name)
        self.seen.set()
        self.go_on.wait(10)
        self.jobs.visited(name)

    def add(self, name: str, every: float, due: float = 0.0) -> None:
        schedule = Schedule(every=every)
        when = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=due)
        self.scheduler.add_job(
            self.visit,
            schedule.trigger(),
            id=name,
            name=schedule.model_dump_json(exclude_none=True),
            args=(name,),
            misfire_grace_time=None,
            coalesce=True,
            next_run_time=when,
        )

    def end(self) -> None:
        self.go_on.set()
        self.scheduler.shutdown(wait=True)


def test_a_time_that_was_missed_is_made_up_for_once(tmp_path: Path) -> None:
    path = tmp_path / "watch.json"
    first = Running(path)
    first.add("a", every=3600, due=3600)
    first.end()
    kept = json.loads(path.read_text())
    due = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=5)
    kept["jobs"][0]["next"] = due.isoformat()  # as after five hours of being switched off
    path.write_text(json.dumps(kept))
    second = Running(path)
    assert second.seen.wait(5)
    time.sleep(0.3)
    second.end()
    assert second.visited == ["a"]
    again = datetime.datetime.fromisoformat(json.loads(path.read_text())["jobs"][0]["next"])
    assert (
        datetime.datetime.now(datetime.UTC) < again < datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    )


def test_a_clock_that_was_set_back_puts_no_visit_off_for_years(tmp_path: Path) -> None:
    path = tmp_path / "watch.json"
    first = Running(path)
    first.add("a", every=3600, due=3600)
    first.end()
    kept = json.loads(path.read_text())
    kept["jobs"][0]["next"] = "2099-01-01T00:00:00+00:00"
    path.write_text(json.dumps(kept))
    second = Running(path)
    [job] = second.scheduler.get_jobs()
    second.end()
    assert job.next_run_time < datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)


def test_what_was_begun_or_waited_when_the_process_died_is_due_at_once(tmp_path: Path) -> None:
    path, copy = tmp_path / "watch.json", tmp_path / "copy.json"
    first = Running(path)
    first.go_on.clear()
    first.add("a", every=3600)
    first.add("b", every=3600)
    first.add("c", every=3600, due=3600)
    assert first.seen.wait(5)
    for _ in range(100):
        if sum(job["visiting"] for job in json.loads(path.read_text())["jobs"]) == 2:
            break
        time.sleep(0.02)
    copy.write_text(path.read_text())  # what a process that is killed now leaves behind
    first.end()
    second = Running(copy)
    for _ in range(250):
        if len(second.visited) == 2:
            break
        time.sleep(0.02)
    second.end()
    assert sorted(second.visited) == ["a", "b"]
    assert [job["visiting"] for job in json.loads(copy.read_text())["jobs"]] == [False] * 3


def test_a_visit_never_runs_beside_itself(tmp_path: Path) -> None:
    running = Running(tmp_path / "watch.json")
    running.go_on.clear()
    running.add("a", every=1)
    assert running.seen.wait(5)
    time.sleep(2.2)
    assert running.visited == ["a"]
    running.end()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"jobs": [{"id": 1}]}', '{"jobs": 5}'])
def test_a_damaged_file_is_put_aside(tmp_path: Path, content: str) -> None:
    path = tmp_path / "watch.json"
    path.write_text(content)
    running = Running(path)
    assert running.scheduler.get_jobs() == []
    running.end()
    assert path.with_suffix(".damaged").read_text() == content
