"""Work that is handed out, on Ray's own processes: what hangs, dies or vanishes takes nothing but itself along."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import ray
from ray_cluster import Nodes, cluster

from autoshrink.search.nodes import join, pulse
from autoshrink.search.outstanding import LOST, Outstanding, Piece
from autoshrink.search.pulse import Pulse, RayGone

LIMIT = 3.0
PATIENCE = 120.0
"""Seconds after which a machine isn't just busy."""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_health_check_period_ms", "500")  # a node is known to be dead soon
        with cluster(tmp_path_factory.mktemp("cluster"), cpus=2) as started:
            join(started.address)
            yield started


@pytest.fixture
def desk(nodes: Nodes) -> Iterator[Outstanding]:
    handed_out = Outstanding(pulse(nodes.address), LIMIT, "took longer than 3 s")
    yield handed_out
    handed_out.forget()


def wait(desk: Outstanding, piece: Piece) -> Piece:
    begun = time.monotonic()
    while not desk.wait([piece], timeout=1.0):
        assert time.monotonic() - begun < PATIENCE, "it never ended"
    return piece


def doing(what: Callable[..., Any], *arguments: Any, **options: Any) -> Callable[[], Any]:
    """Hand out a function that says when it begins, as the workers' own do."""

    def work(*given: Any) -> Iterator[Any]:
        yield None
        yield what(*given)

    return lambda: ray.remote(num_cpus=1, max_retries=0)(work).options(**options).remote(*arguments)


def process(path: Path) -> int:
    """Wait until a worker has written which process it is."""
    begun = time.monotonic()
    while not path.exists() or not path.read_text():
        assert time.monotonic() - begun < PATIENCE, "it never began"
        time.sleep(0.02)
    return int(path.read_text())


def alive(number: int) -> bool:
    with suppress(OSError):
        return "\nState:\tZ" not in Path(f"/proc/{number}/status").read_text()
    return False


def is_gone(number: int) -> bool:
    begun = time.monotonic()
    while alive(number) and time.monotonic() - begun < 30:
        time.sleep(0.05)
    return not alive(number)


def test_what_hangs_is_ended_and_its_place_is_free(desk: Outstanding, tmp_path: Path) -> None:
    def hang(here: str) -> None:
        Path(here).write_text(str(os.getpid()))
        while True:  # no signal handler of Python's, and nobody who asks it to stop, is heard
            sum(range(10**7))

    def nap() -> str:
        time.sleep(LIMIT - 1)
        return "waited its turn"

    pieces = [desk.hand_out(doing(hang, str(tmp_path / str(number)))) for number in range(2)]
    waiting = desk.hand_out(doing(nap))  # all places are taken: its time is counted from when it begins
    numbers = [process(tmp_path / str(number)) for number in range(2)]
    for piece in pieces:
        ended = wait(desk, piece)
        assert (ended.cut, ended.reason) == ("late", "took longer than 3 s")
    assert all(is_gone(number) for number in numbers)
    assert wait(desk, waiting).answer == "waited its turn"


def test_what_is_lost_is_handed_out_three_times(desk: Outstanding, tmp_path: Path) -> None:
    def die(times: int, here: str) -> str:
        tries = Path(here)
        with tries.open("a") as file:
            file.write("x")
        if len(tries.read_text()) <= times:
            os.kill(os.getpid(), signal.SIGKILL) if times == 2 else ctypes.string_at(0)
        return "done"

    ended = wait(desk, desk.hand_out(doing(die, 2, str(tmp_path / "twice"))))
    assert (ended.answer, ended.tries, ended.cut) == ("done", 3, "")
    ended = wait(desk, desk.hand_out(doing(die, 9, str(tmp_path / "always"))))
    assert (ended.answer, ended.cut) == (None, "lost")
    assert ended.reason.startswith(f"{LOST} 3 times (the process ended: killed")
    assert (tmp_path / "always").read_text() == "xxx"


def test_what_was_on_a_node_that_died_is_done_on_another(desk: Outstanding, nodes: Nodes, tmp_path: Path) -> None:
    def long(here: str) -> str:
        mine = Path(here) / ray.get_runtime_context().get_node_id()
        mine.write_text(str(os.getpid()))
        if len(list(Path(here).iterdir())) == 1:
            time.sleep(PATIENCE)  # until its node dies
        return "done"

    node, _ = nodes.join("mortal")
    desk._limit = None
    piece = desk.hand_out(doing(long, str(tmp_path), resources={"mortal": 1}))
    begun = time.monotonic()
    while piece.begun is None:
        assert time.monotonic() - begun < PATIENCE
        assert not desk.wait([piece], timeout=0.2)
    nodes.kill(node)
    other, _ = nodes.join("mortal")
    ended = wait(desk, piece)
    assert (ended.answer, ended.tries) == ("done", 2)
    nodes.kill(other)


def test_want_of_memory_is_the_fault_of_the_work(desk: Outstanding, nodes: Nodes) -> None:
    node, _ = nodes.join("narrow", RAY_memory_usage_threshold="0.005")  # what Python alone takes is too much there
    desk._limit = None
    ended = wait(desk, desk.hand_out(doing(time.sleep, PATIENCE, resources={"narrow": 1})))
    nodes.kill(node)
    assert (ended.tries, ended.cut) == (1, "memory")
    print(ended.reason)
    assert "memory" in ended.reason


def test_what_fails_around_the_work_is_a_failure_too(desk: Outstanding) -> None:
    ended = wait(desk, desk.hand_out(doing(sys.getsizeof)))  # lacks its argument
    assert (ended.answer, ended.cut) == (None, "")
    assert "TypeError" in ended.reason
    assert "\x1b" not in ended.reason, "it is no terminal's"


def test_a_process_of_rays_that_is_gone_shows_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as there:
        place = there.getsockname()[:2]
        here, cluster = Pulse({"head": place}, {}), Pulse({"head": place}, {"head": 600.0})
        here.check(at_once=True)
    here.check()  # just looked
    cluster.check(at_once=True)  # it may be started again
    with pytest.raises(RayGone, match=f"its head at 127.0.0.1:{place[1]} is gone"):
        here.check(at_once=True)
