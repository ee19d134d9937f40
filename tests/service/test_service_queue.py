"""The queue and the dispatcher: no job is lost or run twice, whatever order things happen in, on either database."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from postgres_server import postgres
from serving import serving
from sqlalchemy import delete

from autoshrink.core import AutoshrinkError, BackendUnavailable, SpecError
from autoshrink.service.server import dispatcher as dispatching
from autoshrink.service.server import queue as queueing
from autoshrink.service.server.database import Database, jobs
from autoshrink.service.server.dispatcher import Dispatcher
from autoshrink.service.server.queue import Queue, State, Submission, WrongStateError, new_id

ENDS = {0: State.FINISHED, 1: State.FAILED, 2: State.FAILED, 3: State.UNMET}


def wish(key: str | None = None, body: str = "") -> Submission:
    return Submission(
        new_id(), "digits", "digits/target.yaml", "target.yaml", "/", "model: x\n", 3, False, "ann", key, body
    )


class Scripted:
    """A runner whose searches do what they are told, and that counts how often each was begun."""

    def __init__(self) -> None:
        self.doing: dict[str, int | Literal["running"] | None] = {}
        self.begun: list[str] = []
        self.fault: AutoshrinkError | None = None

    def begin(self, job: str, target: Path) -> None:
        if self.fault is not None:
            raise self.fault
        if self.doing.get(job) != "running":
            self.begun.append(job)
            self.doing[job] = "running"

    def look(self, job: str) -> int | Literal["running"] | None:
        return self.doing.get(job)

    def end(self, job: str) -> None:
        self.doing[job] = 130


class Desk:
    """A queue with a dispatcher, which can be replaced as if it had been killed."""

    def __init__(self, folder: Path, url: str, searches: int = 1) -> None:
        self.folder, self.searches = folder, searches
        self.database = Database(url)
        self.queue = Queue(self.database)
        self.runner = Scripted()
        self.restart()

    def restart(self) -> None:
        self.dispatcher = Dispatcher(
            self.queue, self.runner, self.folder, self.folder / ".service" / "runs", self.searches
        )

    def step(self) -> None:
        self.dispatcher.step()
        for thread in self.dispatcher._endings.values():
            thread.join()


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    with postgres() as server:
        yield server.url


@pytest.fixture(params=["sqlite", "postgresql"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    address = request.getfixturevalue("postgresql") if request.param == "postgresql" else f"sqlite:///{tmp_path}/x.db"
    desk = Desk(tmp_path, address)
    yield desk
    with desk.database.write() as connection:  # one server serves all tests
        connection.execute(delete(jobs))
    desk.database.close()


def test_jobs_run_one_after_another_and_end_by_their_exit_code(desk: Desk) -> None:
    jobs = [desk.queue.submit(wish())[0].id for _ in ENDS]
    for job, (code, state) in zip(jobs, ENDS.items(), strict=True):
        desk.step()
        assert desk.queue.known(job).state is State.RUNNING
        assert [item.id for item in desk.queue.active()] == [job]
        desk.runner.doing[job] = code
        desk.step()
        assert (desk.queue.known(job).state, desk.queue.known(job).code) == (state, code)
    assert desk.runner.begun == jobs
    assert [job.id for job in desk.queue.page(None, 3, None)] == jobs[:0:-1]
    assert [job.id for job in desk.queue.page(None, 3, jobs[1])][:1] == [jobs[0]]


def test_a_search_that_dies_is_resumed_three_times(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatching, "_PAUSE", 0.0)
    job = desk.queue.submit(wish())[0].id
    for code in (4, None, -9, 137):
        desk.step()
        assert desk.queue.known(job).state is State.RUNNING
        desk.runner.doing[job] = code
        desk.step()
    assert desk.runner.begun == [job] * 4
    found = desk.queue.known(job)
    assert (found.state, found.tries) == (State.FAILED, 3)
    assert "exit code 137, after it was resumed 3 times" in found.reason
    assert desk.queue.resume(job).tries == 0
    desk.step()
    assert desk.runner.begun == [job] * 5
    desk.runner.fault = SpecError("no such program")
    desk.runner.doing[job] = None
    for _ in range(10):
        desk.step()
    assert desk.queue.known(job).state is State.FAILED
    assert "no such program" in desk.queue.known(job).reason


def test_a_device_that_is_gone_is_not_asked_again_at_once(desk: Desk) -> None:
    job = desk.queue.submit(wish())[0].id
    desk.step()
    desk.runner.doing[job] = 4
    desk.step()
    desk.step()
    assert desk.queue.known(job).state is State.QUEUED
    assert desk.runner.begun == [job]


def test_a_clock_that_jumps_keeps_no_job_waiting(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    waits, fails = (desk.queue.submit(wish())[0].id for _ in range(2))
    desk.queue.start(fails)
    desk.queue.again(fails, 1, 90.0, "the device is gone")
    now = time.time()
    for shift, due in ((0, [waits]), (-86400 * 365, [waits, fails]), (86400, [waits, fails])):
        monkeypatch.setattr(queueing.time, "time", lambda shift=shift: now + shift)
        assert [job.id for job in desk.queue.due(9)] == due


def test_the_exit_code_of_an_earlier_run_is_not_taken_for_this_one_s(desk: Desk) -> None:
    job = desk.queue.submit(wish())[0].id
    desk.step()
    desk.runner.doing[job] = 3
    desk.step()
    desk.queue.resume(job)
    assert desk.queue.start(job)  # and the service is killed before it tells the runner
    desk.restart()
    desk.step()
    assert desk.runner.begun == [job, job]
    assert desk.queue.known(job).state is State.RUNNING


def test_a_key_gives_the_same_job_even_at_the_same_time(desk: Desk) -> None:
    found: list[tuple[str, bool]] = []
    start = threading.Barrier(8)

    def submit() -> None:
        start.wait()
        job, new = desk.queue.submit(wish("once", "one"))
        found.append((job.id, new))

    threads = [threading.Thread(target=submit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({job for job, _ in found}) == 1
    assert sum(new for _, new in found) == 1
    with pytest.raises(WrongStateError, match="Idempotency-Key"):
        desk.queue.submit(wish("once", "two"))


def test_the_service_keeps_its_queue_on_postgresql(postgresql: str, tmp_path: Path) -> None:
    with serving(tmp_path, database=postgresql) as service:
        assert service.ask("GET", "/readyz", secret="").status_code == 200
        job = service.upload(key="pg").json()["id"]
        assert service.upload(key="pg").json()["id"] == job
        shown = service.ask("POST", f"/v1/jobs/{job}/cancel", "submit").json()
        assert shown["state"] in ("cancelled", "cancelling")
        assert [entry["job"] for entry in service.ask("GET", "/v1/audit?limit=2").json()] == [job, job]
    assert not (tmp_path / "store" / ".service" / "service.db").exists()


def test_an_address_that_is_no_database_is_said() -> None:
    for url, kind, said in (
        ("nonsense", SpecError, "no address of a database"),
        ("mysql://x/y", (SpecError, BackendUnavailable), "--database"),
        ("postgresql+psycopg://nobody:secret@127.0.0.1:1/x", BackendUnavailable, "does not answer"),
        ("sqlite:////nowhere/at/all.db", BackendUnavailable, "does not answer"),
    ):
        with pytest.raises(kind, match=said) as caught:
            Database(url)
        assert "secret" not in str(caught.value)


class Anything(RuleBasedStateMachine):
    """Users, searches and kills in any order; a plain model says what the queue must say."""

    def __init__(self) -> None:
        super().__init__()
        self.place = tempfile.TemporaryDirectory()
        self.desk = Desk(Path(self.place.name), f"sqlite:///{self.place.name}/queue.db", searches=2)
        self.jobs: list[str] = []

    def teardown(self) -> None:
        self.desk.database.close()
        self.place.cleanup()

    @rule()
    def submit(self) -> None:
        self.jobs.append(self.desk.queue.submit(wish())[0].id)

    @rule()
    def move_on(self) -> None:
        self.desk.step()

    @rule()
    def kill_and_start(self) -> None:
        self.desk.restart()

    @rule(number=st.integers(0, 5))
    def kill_between_queue_and_runner(self, number: int) -> None:
        if number < len(self.jobs) and len(self.desk.queue.active()) < 2:
            self.desk.queue.start(self.jobs[number])
            self.desk.restart()

    @rule(number=st.integers(0, 5), code=st.sampled_from([0, 1, 2, 3, 130, -9, None]))
    def search_ends(self, number: int, code: int | None) -> None:
        if number < len(self.jobs) and self.desk.runner.doing.get(self.jobs[number]) == "running":
            self.desk.runner.doing[self.jobs[number]] = code

    @rule(number=st.integers(0, 5), wanted=st.sampled_from(["cancel", "resume"]))
    def user(self, number: int, wanted: str) -> None:
        if number >= len(self.jobs):
            return
        before = self.desk.queue.known(self.jobs[number]).state
        running = dict.fromkeys((State.RUNNING, State.CANCELLING), State.CANCELLING)
        allowed = {
            "cancel": {State.QUEUED: State.CANCELLED, **running},
            "resume": dict.fromkeys((State.CANCELLED, State.FAILED, State.UNMET), State.QUEUED),
        }[wanted]
        try:
            assert getattr(self.desk.queue, wanted)(self.jobs[number]).state is allowed[before]
        except WrongStateError:
            assert before not in allowed

    @invariant()
    def nothing_is_lost_and_no_more_runs_than_shall(self) -> None:
        assert [job.id for job in self.desk.queue.page(None, 500, None)] == self.jobs[::-1]
        assert len(self.desk.queue.active()) <= 2
        active = {job.id for job in self.desk.queue.active()}
        running = {job for job, doing in self.desk.runner.doing.items() if doing == "running"}
        assert running <= active, "what runs is known to run"


TestAnything = Anything.TestCase
TestAnything.settings = settings(max_examples=50, stateful_step_count=25, deadline=None)
