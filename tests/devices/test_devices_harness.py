"""The harness's parts: stopwatch, gauge of memory, arrays; and the whole in this process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from device_requests import ADAPTER, QUICK, Ask, request

from autoshrink.devices.harness.arrays import fit, invent, predict
from autoshrink.devices.harness.program import main
from autoshrink.devices.harness.stopwatch import Contender, agreed, race


def work(turns: int) -> Callable[[], None]:
    """Make a piece of work that takes the same number of instructions each time."""
    steps = range(turns)

    def run() -> None:
        for _ in steps:
            pass

    return run


def timed(*calls: Callable[[], Any], **settings: Any) -> dict[str, Any]:
    contenders = {name: Contender([call]) for name, call in zip(("artifact", "reference"), calls, strict=False)}
    return race(contenders, {**QUICK, "canary": None, "reference": None, **settings}, lambda _: None, lambda: None)


@pytest.mark.alone
@pytest.mark.parametrize("turns", [1_000, 30_000, 1_000_000])
def test_twice_the_work_takes_twice_the_time(turns: int) -> None:
    result = timed(work(2 * turns), work(turns), seconds=0.3, patience=1.0, width=0.02)
    assert result["ratio"]["value"] == pytest.approx(2, rel=0.1)
    assert result["artifact"]["low"] <= result["artifact"]["value"] <= result["artifact"]["high"]


@pytest.mark.alone
def test_time_asleep_counts() -> None:
    result = timed(lambda: time.sleep(0.004))
    assert result["artifact"]["value"] == pytest.approx(0.004, rel=0.15)


@pytest.mark.alone
def test_steady_work_is_timed_briefly_and_unsteady_work_until_the_limit() -> None:
    generator = np.random.default_rng(0)
    works = [work(int(turns)) for turns in np.linspace(1_000, 4_000, 64)]
    unsteady = timed(lambda: works[generator.integers(64)](), seconds=0.4, patience=0.4, width=1e-9)
    steady = timed(work(2_000), seconds=5.0, patience=5.0, width=0.5)
    assert QUICK["rounds"] <= steady["rounds"] < unsteady["rounds"]
    assert unsteady["artifact"]["high"] > unsteady["artifact"]["low"]


def test_a_call_with_a_clock_of_its_own_is_timed_by_that() -> None:
    class Elsewhere:
        def __init__(self, nanoseconds: float) -> None:
            self.nanoseconds = nanoseconds

        def __call__(self) -> None:
            time.sleep(0.001)  # what this process waits, and does not count

        def clock(self, count: int) -> list[float]:
            self()
            return [self.nanoseconds * (1 + index / 1000) for index in range(count)]

    result = timed(Elsewhere(20_000), Elsewhere(40_000), reference=44e-6, canary=1.0)
    assert result["artifact"]["value"] == pytest.approx(20e-6, rel=0.05)
    assert result["ratio"]["value"] == pytest.approx(0.5, rel=0.01)
    assert result["pace"] == pytest.approx(40 / 44, rel=0.05)  # whatever the core's fixed work took
    assert result["quiet"]


@pytest.mark.alone
def test_disturbed_rounds_do_not_count() -> None:
    contender = Contender([work(10)], size=10)
    contender.typical = [1000.0] * 4
    contender.beside = [2000.0, 2400.0, 2600.0, np.inf]
    assert contender.clean(2500).tolist() == [True, True, False, False]
    contender.typical = [1e7] * 4  # a block of a tenth of a second is judged by nothing beside it
    assert contender.clean(2500).tolist() == [True, True, True, False]


@pytest.mark.alone
def test_a_slow_reference_tells_that_the_machine_is_not_quiet() -> None:
    result = timed(work(2_000), work(2_000), reference=1e-9)
    assert not result["quiet"]
    assert result["slowdown"] >= 1


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [(1.2, 1.1, 1.1), (1.1, 1.3, 1.1), (0.9, 0.8, 0.9), (0.7, 0.8, 0.8), (1.2, 0.9, 1), (0.9, 1.2, 1), (1, 1.2, 1)],
)
def test_only_what_two_witnesses_say_is_believed(one: float, other: float, both: float) -> None:
    assert agreed(one, other) == both


@pytest.mark.alone
def test_a_machine_that_is_slower_as_a_whole_is_told_from_a_slow_reference() -> None:
    before = timed(work(2_000), work(2_000))
    now, then = before["canary"], before["reference"]["value"]
    alone = timed(work(2_000), work(2_000), reference=then / 3, canary=now * 4)
    assert alone["pace"] == 1
    both = timed(work(2_000), work(2_000), reference=then / 3, canary=now / 4)
    assert 1.5 < both["pace"] <= 3.001 * both["reference"]["value"] / then


@pytest.mark.alone
def test_a_busy_core_moves_other_cores_into_play() -> None:
    moves: list[None] = []
    contenders = {"artifact": Contender([work(2_000)])}
    settings = {**QUICK, "canary": 1, "reference": None, "seconds": 0.02, "patience": 0.2}
    assert not race(contenders, settings, lambda _: None, lambda: moves.append(None))["quiet"]
    assert moves


@contextmanager
def on_one_core_with(others: int) -> Iterator[None]:
    allowed = os.sched_getaffinity(0)
    core = min(allowed)
    spin = f"import os\nos.sched_setaffinity(0, {{{core}}})\nprint(flush=True)\nwhile True: pass"
    hogs = [subprocess.Popen([sys.executable, "-c", spin], stdout=subprocess.PIPE) for _ in range(others)]
    try:
        for hog in hogs:
            assert hog.stdout is not None
            hog.stdout.readline()
        os.sched_setaffinity(0, {core})
        yield
    finally:
        os.sched_setaffinity(0, allowed)
        for hog in hogs:
            hog.kill()
            hog.communicate()


@pytest.mark.alone
def test_processes_on_the_same_core_are_not_timed() -> None:
    call = work(1_000_000)  # some 10 ms, longer than the scheduler lets anybody run
    settings = {"seconds": 0.5, "patience": 1.0}

    def alone() -> float:
        with on_one_core_with(0):
            return float(timed(call, **settings)["artifact"]["value"])

    for _ in range(4):
        before = alone()
        with on_one_core_with(2):
            crowded = timed(call, **settings)["artifact"]
        after = alone()
        if max(before, after) < 1.15 * min(before, after):
            break  # else the machine itself changed its pace meanwhile, and nothing can be said
    assert crowded["median"] > 1.8 * min(before, after)
    assert crowded["value"] < 1.3 * max(before, after)


HOLDER = """
import mmap
import numpy as np

class Holder:
    inputs = [{"name": "x", "dtype": "float32", "shape": [None, 2]}]
    def __init__(self, path, options):
        self.kept = np.ones(options["kept"], np.uint8)
        self.mapped = np.memmap(path, np.uint8, "r")
        self.total = int(self.mapped.sum())
        self.past = mmap.mmap(-1, options["past"], flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.past.write(b"x" * options["past"])
        self.work = options["work"]
    def run(self, arrays):
        return [arrays["x"] * np.ones(self.work, np.uint8)[0]]

def load(path, options):
    return Holder(path, options)
"""


@pytest.mark.parametrize(("kept", "work_size", "past"), [(5 << 20, 3 << 20, 4096), (3 << 18, 5 << 20, 6 << 20)])
def test_peak_memory_is_what_is_held_while_running(
    ask: Ask, files: dict[str, Path], tmp_path: Path, kept: int, work_size: int, past: int
) -> None:
    (tmp_path / "holder.py").write_text(HOLDER)
    (files["artifact"] / "weights.bin").write_bytes(bytes(2 << 20))
    options = {"kept": kept, "work": work_size, "past": past}
    memory = ask(tmp_path / "holder.py", artifact=["artifact", "weights.bin"], options=options, wants=["memory"])[0][
        "memory"
    ]
    assert memory["method"] == "live heap"
    assert memory["kept"] == pytest.approx(kept, rel=0.02)
    assert memory["mapped"] == 2 << 20
    assert memory["past_malloc"] == pytest.approx(past if past > 1 << 20 else 0, rel=0.25)
    assert memory["peak"] == pytest.approx(kept + work_size + memory["mapped"] + memory["past_malloc"], rel=0.02)


SPECS: list[dict[str, Any]] = [
    {"name": "tokens", "dtype": "int32", "shape": [None, 4]},
    {"name": "mask", "dtype": "float32", "shape": [None, 4]},
]


def test_inputs_go_by_name_else_by_order_and_get_the_artifacts_type() -> None:
    tokens, mask = np.arange(8, dtype=np.int64).reshape(2, 4), np.ones((2, 4))
    for given in ({"mask": mask, "tokens": tokens}, {"0": tokens, "1": mask}):
        fitted = fit(given, SPECS)
        assert [fitted["tokens"].dtype, fitted["mask"].dtype] == ["int32", "float32"]
        np.testing.assert_array_equal(fitted["tokens"], tokens)
    with pytest.raises(ValueError, match=r"takes 2 inputs \(tokens, mask\), 1 were given"):
        fit({"tokens": tokens}, SPECS)


def test_invented_inputs_have_one_example_and_no_unknown_token() -> None:
    made = fit(invent(SPECS), SPECS)
    assert {name: array.shape for name, array in made.items()} == {"tokens": (1, 4), "mask": (1, 4)}
    assert not made["tokens"].any()
    with pytest.raises(ValueError, match=r"x has the free shape .*: it needs an example"):
        invent([{"name": "x", "dtype": "float32", "shape": [None, None, 3]}])


def test_an_artifact_with_room_for_two_is_given_two() -> None:
    class Pairs:
        inputs: ClassVar = [{"name": "x", "dtype": "float32", "shape": [2, 3]}]

        def run(self, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
            assert arrays["x"].shape == (2, 3)
            return [arrays["x"] * 2]

    rows = np.ones((6, 3), np.float32)
    np.testing.assert_array_equal(predict(Pairs(), {"x": rows}, 4), rows * 2)
    assert invent(Pairs.inputs)["x"].shape == (2, 3)
    with pytest.raises(ValueError, match="takes 2 examples at a time, and 5 are no multiple"):
        predict(Pairs(), {"x": rows[:5]}, 4)


@pytest.mark.parametrize("size", [1, 4, 10, 99])
def test_predictions_are_joined_over_batches_of_any_size(size: int) -> None:
    class Doubling:
        inputs = SPECS[1:]
        seen: tuple[int, ...] = ()

        def run(self, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
            self.seen += (len(arrays["mask"]),)
            return [arrays["mask"] * 2, arrays["mask"]]

    artifact, rows = Doubling(), np.random.default_rng(0).standard_normal((10, 4)).astype(np.float32)
    np.testing.assert_array_equal(predict(artifact, {"mask": rows}, size), rows * 2)
    assert sum(artifact.seen) == 10
    assert max(artifact.seen) == min(size, 10)


def test_the_whole_program_in_this_process(files: dict[str, Path], tmp_path: Path) -> None:
    wanted = request(
        pin=False, wants=["memory", "latency", "energy"], predict=["test"], reference=["reference", "weights.npz"]
    )
    (tmp_path / "request.json").write_text(
        json.dumps({**wanted, "files": {name: str(path) for name, path in files.items()}})
    )
    main(str(ADAPTER), str(tmp_path / "request.json"), str(tmp_path))
    answer = json.loads((tmp_path / "answer.json").read_text())
    assert {"memory", "latency", "energy", "versions", "seconds", "inputs", "load_average"} <= set(answer)
    assert (tmp_path / "stage").read_text() == "device: write the answer"
    assert np.load(tmp_path / "test.npy", allow_pickle=False).shape == (37, 4)
