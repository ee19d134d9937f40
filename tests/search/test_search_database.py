"""A study on a real PostgreSQL: held by one, resumed by the next, and a server that goes and comes back."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, create_trial
from postgres_server import Server, postgres
from sqlalchemy import create_engine, text

from autoshrink.core import SpecError
from autoshrink.search import database
from autoshrink.search.database import Database, opened
from autoshrink.search.journal import Direction
from autoshrink.search.places import StorageGone

BOTH: list[Direction] = ["maximize", "minimize"]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres() as server:
        yield server


@pytest.fixture
def held(server: Server, request: pytest.FixtureRequest) -> Iterator[Database]:
    """The study of one test."""
    with opened(server.url, request.node.name) as study:
        assert study is not None
        yield study


def trial(number: int) -> FrozenTrial:
    made = create_trial(
        values=[0.9, 100.0 + number],
        params={"ratio": 0.1},
        distributions={"ratio": FloatDistribution(0.0, 1.0)},
        user_attrs={"candidate": number, "key": f"k{number}", "recipe": "50 % µ"},
    )
    made.set_constraint("accuracy", -0.01)
    return made


def numbers(study: Database) -> list[int]:
    return [found.user_attrs["candidate"] for found in study.begin(BOTH)]


def cut(server: Server) -> None:
    """End every connection there is, as a server that is started anew does."""
    engine = create_engine(server.url)
    with engine.connect() as own:
        own.execute(text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"))
    engine.dispose()


def test_a_study_is_held_by_one_and_resumed_by_the_next(server: Server) -> None:
    with opened(server.url, "shared") as first:
        assert first is not None
        assert first.begin(BOTH) == []
        first.add(trial(1))
        with pytest.raises(SpecError, match=r"tester@.*'shared' is being searched by another process") as refused:
            Database(server.url, "shared")
        assert "hush" not in str(refused.value)
        Database(server.url, "another").close()
    with opened(server.url, "shared") as second:
        assert second is not None
        (found,) = second.begin(BOTH)
    assert (found.values, found.params, found.user_attrs) == ([0.9, 101.0], {"ratio": 0.1}, trial(1).user_attrs)
    assert found.constraints == trial(1).constraints


def test_a_driver_that_is_killed_holds_nothing(server: Server) -> None:
    hold = (
        "import sys, time; from autoshrink.search.database import Database\n"
        "study = Database(sys.argv[1], 'killed'); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", hold, server.url], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(SpecError, match="another process"):
            Database(server.url, "killed")
        other.kill()
    deadline = time.monotonic() + 30
    while True:  # until the server notices
        try:
            Database(server.url, "killed").close()
            break
        except SpecError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_a_connection_that_breaks_is_made_again_and_nothing_is_told_twice(server: Server, held: Database) -> None:
    held.begin(BOTH)
    held.add(trial(1))
    cut(server)
    held.add(trial(2))
    with pytest.raises(SpecError, match="another process"):
        Database(server.url, held._name)
    create, lost = held._storage.create_new_trial, []

    def written_but_not_heard(*args: object, **kwargs: object) -> int:
        number = create(*args, **kwargs)  # type: ignore[arg-type]
        if not lost:
            lost.append(number)
            raise database._Lost("the answer was cut off")
        return number

    held._storage.create_new_trial = written_but_not_heard  # type: ignore[method-assign]
    held.add(trial(3))
    assert lost
    assert numbers(held) == [1, 2, 3]


def test_a_server_that_stays_away_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_PAUSES", (0.1, 0.1))
    with postgres() as server:
        with opened(server.url, "gone") as study:
            assert study is not None
            study.begin(BOTH)
            server.stop()
            with pytest.raises(
                StorageGone, match=r"--study postgresql\+psycopg://tester@.*does not answer: \S"
            ) as gone:
                study.add(trial(1))
            assert gone.value.exit_code == 4
            assert "hush" not in str(gone.value)
            server.start()
            study.add(trial(1))  # what a search does that is resumed
            assert numbers(study) == [1]


@pytest.mark.parametrize("address", ["mysql://me:hush@host/x", "nothing", "postgresql+oracle://me:hush@host/x"])
def test_another_address_is_refused(address: str) -> None:
    with pytest.raises(SpecError, match=r"write postgresql\+psycopg://USER@HOST/DATABASE") as refused:
        Database(address, "x")
    assert "hush" not in str(refused.value)
