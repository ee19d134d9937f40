"""How fast the Pareto view is: the server's answer, the first draw, and a slider's answer in the browser.

    python benchmarks/view.py [--quick]

A real MLflow server (`autoshrink ui` on SQLite) holds a search of 10,000 candidates whose figures are *simulated*: the
search's run and its first candidates are sent by the tracker, the others are written into the same tables as it does,
row by row the same. Headless Chromium, without a graphics card, opens the page and moves a slider.

*Server* is the time from the page's request for the candidates to the last byte of the answer, *browser* all the rest
from the start of loading the page to the frame that shows the candidates; *slider* from the event of the moved slider
to the frame that shows the new front. The issue asks for 2 s, 3 s and 200 ms. About five minutes, most of it for
MLflow's own search of the same runs, for comparison; `--quick` has 2,000 candidates, and leaves the comparison out.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
from reporting import print_table, write_json

from autoshrink.core import Accuracy, Candidate, Limits, Measurement, Metric, Recipe, Source, Target, judge
from autoshrink.tracking.records import record_of
from autoshrink.tracking.tracker import Tracker

CHROMIUM = "/usr/bin/chromium"
SERVER, BROWSER, SLIDER = 2.0, 3.0, 0.2
"""What is aimed at, in s."""
BY_TRACKER = 3
LIMITS = Limits(floor=0.9, costs={"latency": 60e-6, "size": 200e3}, baseline={"latency": 120e-6, "size": 1.2e6})
STEPS = {"rank_ratio": (0.1, 0.9), "ratio": (0.1, 0.9), "temperature": (1.0, 8.0), "alpha": (0.1, 0.9)}


def target() -> Target:
    """Declare what nobody searched for."""
    return Target.parse(
        {
            "model": "simulated.py:build",
            "data": "simulated.py:splits",
            "accuracy": {"floor": 0.9},
            "hardware": {"name": "simulated", "kind": "cpu", "backend": "onnxruntime"},
            "budget": {"latency": "60 us", "size": "200 kB"},
            "search": {"space": {"steps": [{"kind": "low_rank", "rank_ratio": {"low": 0.1, "high": 0.9}}]}},
        },
        Source("simulated.yaml", folder=Path.cwd()),
    )


def draw(number: int, chance: random.Random) -> Candidate:
    """Draw a candidate: the smaller and faster, the less accurate, with noise."""
    share = chance.random() ** 1.5 if number else 1.0
    latency, size = (
        6e-6 * 20**share * chance.uniform(0.9, 1.3),
        float(round(8e3 * 150**share * chance.uniform(0.8, 1.2))),
    )
    accuracy = min(0.995, 0.86 + 0.13 * share**0.35 + chance.gauss(0, 0.012))
    memory = 1.2e6 + size
    settings = {name: round(chance.uniform(*ends), 4) for name, ends in STEPS.items()}
    steps = [
        {"kind": "channel_pruning", "ratio": settings["ratio"], "criterion": chance.choice(["l1", "l2", "taylor"])},
        {"kind": "low_rank", "rank_ratio": settings["rank_ratio"], "decomposition": "tucker"},
        {"kind": "distillation", "temperature": settings["temperature"], "alpha": settings["alpha"], "epochs": 4},
        {
            "kind": "quantization",
            "weight_bits": chance.choice([32, 8, 4]),
            "scheme": chance.choice(["static", "dynamic"]),
        },
    ]
    recipe = Recipe.parse({"steps": [step for step in steps if number and chance.random() < 0.8]}, Source("recipe"))
    fate = chance.random() if number else 1.0
    if fate < 0.03:
        return Candidate(
            id=number, recipe=recipe, outcome="refused", reason="the model has no layer that this applies to"
        )
    metrics = {
        "latency": Metric(value=latency, unit="s", low=latency * 0.98, high=latency * 1.03, origin="measured"),
        "memory": Metric(value=memory, unit="B", low=memory, high=memory * 1.03, origin="measured"),
        "size": Metric.exact(size, "B"),
        "energy": Metric(value=5 * latency, unit="J", low=2.5 * latency, high=7.5 * latency, origin="modelled"),
    }
    stopped = fate < 0.4
    return Candidate(
        id=number,
        recipe=recipe,
        outcome="stopped" if stopped else "measured",
        reason="foretold to end below the floor" if stopped else "",
        measurement=Measurement(metrics=metrics),
        accuracy=Accuracy() if stopped else Accuracy(validation=accuracy),
        facts={"macs": 7e6 * share, "parameters": 3e5 * share, "nonzero": 2e5 * share},
        seconds={"train": 1.5, "export": 0.3, "measure": 0.8},
    )


def fill(store: str, count: int, folder: Path) -> str:
    """Write a finished search into an MLflow store; gives the id of its run."""
    from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlParam, SqlRun, SqlTag
    from sqlalchemy import create_engine, insert

    chance = random.Random(0)
    found = [draw(number, chance) for number in range(count + 1)]
    judged = judge(found, ("accuracy", "latency", "size"), LIMITS).judged
    tracker = Tracker(folder, target(), "simulated", store)
    tracker.start({"key": "simulated"}, found[0], LIMITS)
    tracker._inbox.put(None)  # nothing of it has files, which its end would send
    tracker._thread.join()
    parent, experiment = tracker._ledger.parent, tracker._ledger.experiment
    for item in judged[:BY_TRACKER]:
        tracker._ledger.put(item.candidate.id, record_of(item.candidate, item.state, item.reason))
    tracker._ledger.client.set_terminated(parent)
    rows: dict[type, list[dict[str, object]]] = {SqlRun: [], SqlTag: [], SqlParam: [], SqlLatestMetric: []}
    now = time.time_ns() // 1_000_000 - 100 * count
    for item in judged[BY_TRACKER:]:
        record, run = record_of(item.candidate, item.state, item.reason), f"{item.candidate.id:032x}"
        at = now + 100 * item.candidate.id
        rows[SqlRun].append(
            {
                "run_uuid": run, "name": record.name, "source_type": "LOCAL", "source_name": "autoshrink",
                "status": record.status, "entry_point_name": "", "user_id": "", "start_time": at - 50, "end_time": at,
                "lifecycle_stage": "active", "artifact_uri": f"{folder}/{run}", "experiment_id": int(experiment),
                "source_version": "",
            }
        )  # fmt: skip
        tags = {**record.tags, "mlflow.parentRunId": parent, "mlflow.runName": record.name}
        tags |= {"mlflow.source.name": "autoshrink", "mlflow.source.type": "LOCAL"}
        rows[SqlTag] += [{"key": key, "value": value, "run_uuid": run} for key, value in tags.items()]
        rows[SqlParam] += [{"key": key, "value": value, "run_uuid": run} for key, value in record.params.items()]
        rows[SqlLatestMetric] += [
            {"key": key, "value": value, "timestamp": at, "step": 0, "is_nan": False, "run_uuid": run}
            for key, value in record.metrics.items()
        ]
    with create_engine(store).begin() as connection:
        for table, values in rows.items():
            for start in range(0, len(values), 5000):
                connection.execute(insert(table), values[start : start + 5000])
    print(f"{count} simulated candidates: {sum(map(len, rows.values()))} rows")
    return parent


@contextmanager
def served(folder: Path, store: str) -> Iterator[str]:
    """Run ``autoshrink ui``; gives its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "autoshrink", "ui", "--store", store, "--port", str(port)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                    break
            except OSError:
                if server.poll() is not None:
                    raise SystemExit((folder / "log").read_text()) from None
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def fetch(address: str, times: int) -> tuple[float, int]:
    """Fetch an address; gives the median time in s and the bytes."""
    took, size = [], 0
    for _ in range(times):
        begun = time.perf_counter()
        with urllib.request.urlopen(address) as answer:
            size = len(answer.read())
        took.append(time.perf_counter() - begun)
    return statistics.median(took), size


def look(page: Page, address: str, count: int) -> tuple[float, float]:
    """Open the page; gives the server's and the browser's share in s of the time until the candidates are drawn."""
    page.goto("about:blank")
    page.goto(address)
    while not page.evaluate("performance.getEntriesByName('drawn').length"):
        time.sleep(0.05)
    drawn, server = page.evaluate(
        """async () => {
          const drawn = performance.getEntriesByName("drawn")[0].startTime;
          const asked = performance.getEntriesByType("resource").find((entry) => entry.name.includes("/api/searches/"));
          return [drawn, asked.responseEnd - asked.requestStart];
        }"""
    )
    assert f"of {count} candidates" in page.locator("#summary").inner_text()
    return server / 1000, (drawn - server) / 1000


SLIDE = """async ([id, share]) => {
  const input = document.getElementById(id);
  const begun = performance.now();
  input.value = String(Math.round(share * 1000));
  input.dispatchEvent(new Event("input", { bubbles: true }));
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done))); // after the frame is painted
  return performance.now() - begun;
}"""


def slide(page: Page, moves: int) -> list[float]:
    """Move the sliders about; gives the time of each answer in s."""
    chance = random.Random(1)
    sliders = ["limit-latency", "limit-size", "limit-accuracy"]
    page.evaluate(SLIDE, [sliders[0], 0.9])  # whatever is made once
    return [page.evaluate(SLIDE, [sliders[n % 3], chance.uniform(0.3, 1.0)]) / 1000 for n in range(moves)]


def main() -> None:
    """Measure, print and write down."""
    parser = argparse.ArgumentParser(description="The Pareto view's speed.")
    parser.add_argument("--quick", action="store_true", help="2,000 candidates, without MLflow's own search")
    quick = parser.parse_args().quick
    count, repeats, moves = (2000, 3, 12) if quick else (10_000, 5, 60)
    figures: dict[str, float] = {"candidates": count}
    with tempfile.TemporaryDirectory(prefix="autoshrink-view-") as name:
        folder = Path(name)
        store = f"sqlite:///{folder}/mlflow.db"
        parent = fill(store, count, folder)
        with served(folder, store) as root:
            view = f"{root}/autoshrink"
            fetch(f"{view}/api/searches/{parent}", 1)
            figures["api"], figures["bytes"] = fetch(f"{view}/api/searches/{parent}", repeats)
            figures["history"], _ = fetch(f"{view}/api/searches/{parent}/history", 1)
            figures["list"], _ = fetch(f"{view}/api/searches", repeats)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
                page = browser.new_page(viewport={"width": 1360, "height": 960})
                looks = [look(page, f"{view}/searches/{parent}", count) for _ in range(repeats)]
                figures["server"], figures["browser"] = (statistics.median(part) for part in zip(*looks, strict=True))
                slides = slide(page, moves)
                browser.close()
        figures["slider"], figures["slider.worst"] = statistics.median(slides), max(slides)
        figures["slider.most"] = sorted(slides)[int(0.95 * (len(slides) - 1))]
        if not quick:
            figures["mlflow"] = search_with_mlflow(store, parent)
    report(figures)


def search_with_mlflow(store: str, parent: str) -> float:
    """Read the same runs through MLflow's own search; gives the time in s."""
    import mlflow

    client = mlflow.MlflowClient(store)
    experiment = client.get_run(parent).info.experiment_id
    begun, token = time.perf_counter(), None
    while True:
        found = client.search_runs([experiment], max_results=1000, page_token=token)
        token = found.token
        if not token:
            return time.perf_counter() - begun


def report(figures: dict[str, float]) -> None:
    """Print the figures beside what is aimed at."""
    wanted = {"server": SERVER, "browser": BROWSER, "slider": SLIDER, "slider.most": SLIDER}
    names = {
        "api": "the candidates from the server, alone",
        "history": "the hypervolume over time",
        "list": "the list of searches",
        "server": "first draw: server",
        "browser": "first draw: browser",
        "slider": "a slider's answer, median",
        "slider.most": "a slider's answer, 19 of 20",
        "slider.worst": "a slider's answer, worst",
        "mlflow": "the same runs by MLflow's own search",
    }
    rows = [
        [words, f"{figures[key]:.3f} s", f"≤ {wanted[key]} s" if key in wanted else ""]
        for key, words in names.items()
        if key in figures
    ]
    title = f"The Pareto view with {figures['candidates']:,.0f} simulated candidates ({figures['bytes'] / 1e6:.1f} MB)"
    print_table(title, ["", "median", "aim"], rows)
    write_json("view", figures)
    missed = [names[key] for key, most in wanted.items() if figures[key] > most]
    if missed:
        raise SystemExit(f"missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
