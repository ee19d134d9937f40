"""The service under load: submissions, followers of the event stream and reads, while it runs real searches.

    python benchmarks/service.py              # 200 submissions, 50 followers, 1,000 reads a minute for two minutes
    python benchmarks/service.py --quick      # 20 submissions, 10 followers, the same reads for 20 seconds

A real `autoshrink serve` over a store of its own takes the digits with two candidates and wide limits, again and again.
It runs one search at a time, as by default, on the same two cores as everything else here; those that don't come to
their turn are cancelled at the end. Reads are sent by a timetable, and their times count from when they were due, so
that a slow answer is not hidden by the one behind it that is sent late. At the end every submission is asked for: lost
is what the service does not know, knows twice, or let end without a front.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from reporting import print_table, write_json

from autoshrink.core import catalog_folder

P95 = 0.250
"""Seconds within which 95 of 100 reads shall be answered."""
ENDING = 120.0
"""Seconds that a search which is cancelled may take to its end."""
PATIENCE = 30.0
READERS = 16
"""Threads that send reads, so that one which waits keeps no other."""
CANDIDATES = 2
LIMITS = {"accuracy": "{max_drop: 0.5}", "budget": "{latency: 1 s, size: 1 MB}"}
"""In place of the example's, which want more candidates and a machine at rest: whoever does not meet these failed."""


class Served:
    """A service in a process of its own, over a folder of its own."""

    def __init__(self, folder: Path) -> None:
        project = folder / "projects" / "digits"
        shutil.copytree(catalog_folder("examples") / "digits", project)
        if not (project / "weights.safetensors").exists():
            subprocess.run([sys.executable, "train.py"], cwd=project, check=True, capture_output=True)
        target = (project / "target.yaml").read_text(encoding="utf-8")
        for key, limit in LIMITS.items():
            target, found = re.subn(rf"(?m)^{key}: .*$", f"{key}: {limit}", target)
            assert found == 1, key
        (project / "target.yaml").write_text(target, encoding="utf-8")
        store = ["--store", str(folder / "store")]
        program = [sys.executable, "-m", "autoshrink"]
        command = [*program, "tokens", "add", "load", "--role", "submit", *store]
        made = subprocess.run(command, check=True, capture_output=True, text=True)
        self.headers = {"Authorization": f"Bearer {made.stdout.strip()}"}
        self._process = subprocess.Popen(
            [*program, "serve", "--port", "0", "--allow-code", str(folder / "projects"), *store],
            cwd=folder,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"},
        )
        lines = iter(self._process.stdout or ())
        found = next((match for line in lines if (match := re.match(r"Serving (http://\S+)/v1", line))), None)
        if found is None:
            raise SystemExit("the service did not start")
        self.root = found[1]

    def ask(self, method: str, path: str, session: requests.Session | None = None, **given: Any) -> requests.Response:
        """Send a request with the token."""
        given["headers"] = {**self.headers, **given.get("headers", {})}
        return (session or requests).request(method, self.root + path, timeout=PATIENCE, **given)

    def memory(self) -> int:
        """Give the resident bytes of the service."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return 1024 * int(re.findall(r"VmRSS:\s+(\d+)", status)[0])

    def close(self) -> None:
        """End it."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(timeout=60)
        if self._process.stdout is not None:
            self._process.stdout.close()


@dataclass
class Load:
    """What was sent, and what came of it."""

    served: Served
    seconds: float
    jobs: list[str] = field(default_factory=list)
    submitting: list[float] = field(default_factory=list)
    reading: list[float] = field(default_factory=list)
    events: collections.Counter[str] = field(default_factory=collections.Counter)
    errors: list[str] = field(default_factory=list)
    own: threading.local = field(default_factory=threading.local)

    def submit(self, number: int) -> None:
        """Send one submission, and keep its job."""
        wish = {"target": "digits/target.yaml", "candidates": CANDIDATES}
        begun = time.perf_counter()
        answer = self._answer("POST", "/v1/jobs", json=wish, headers={"Idempotency-Key": f"load-{number}"})
        if answer is not None and answer.status_code == 201:
            self.submitting.append(time.perf_counter() - begun)
            self.jobs.append(answer.json()["id"])
        elif answer is not None:
            self.errors.append(f"submission {number}: {answer.status_code} {answer.text[:200]}")

    def read(self, number: int, due: float) -> None:
        """Send one read at its time."""
        time.sleep(max(0.0, due - time.perf_counter()))
        jobs = self.jobs or [""]
        pages = (
            "/v1/jobs?limit=50",
            f"/v1/jobs/{jobs[number % len(jobs)]}",
            f"/v1/jobs/{jobs[0]}",
            "/v1/jobs?state=running",
        )
        answer = self._answer("GET", pages[number % len(pages)])
        self.reading.append(time.perf_counter() - due)
        if answer is not None and answer.status_code != 200:
            self.errors.append(f"read {answer.url}: {answer.status_code} {answer.text[:200]}")

    def follow(self, number: int, end: threading.Event) -> None:
        """Follow one job after the other until the end."""
        while not end.is_set():
            job = self.jobs[number % min(len(self.jobs), 10)]  # several follow the same, and the first ones run
            try:
                with requests.get(
                    f"{self.served.root}/v1/jobs/{job}/events",
                    headers=self.served.headers,
                    stream=True,
                    timeout=PATIENCE,
                ) as stream:
                    if stream.status_code != 200:
                        self.errors.append(f"follow: {stream.status_code} {stream.text[:200]}")
                        return
                    for line in stream.iter_lines(chunk_size=1, decode_unicode=True):
                        if line.startswith("event: "):
                            self.events[line.removeprefix("event: ")] += 1
                        if end.is_set():
                            return
            except requests.RequestException as error:
                self.errors.append(f"follow: {error}")
                return
            number += 1

    def _answer(self, method: str, path: str, **given: Any) -> requests.Response | None:
        if not hasattr(self.own, "session"):
            self.own.session = requests.Session()
        try:
            return self.served.ask(method, path, self.own.session, **given)
        except requests.RequestException as error:
            self.errors.append(f"{method} {path}: {error}")
            return None


def loaded(served: Served, submissions: int, followers: int, reads_a_minute: int, seconds: float) -> Load:
    """Put the load on the service."""
    load = Load(served, seconds)
    load.submit(0)
    if not load.jobs:
        raise SystemExit(f"the first submission failed: {load.errors}")
    end = threading.Event()
    streams = [threading.Thread(target=load.follow, args=(number, end), daemon=True) for number in range(followers)]
    for stream in streams:
        stream.start()
    reads = round(reads_a_minute * seconds / 60)
    begun = time.perf_counter()
    with (
        concurrent.futures.ThreadPoolExecutor(READERS) as readers,
        concurrent.futures.ThreadPoolExecutor(4) as submitters,
    ):
        # The submissions come in the first half, faster than any search ends.
        sent = [readers.submit(load.read, number, begun + number * seconds / reads) for number in range(reads)]
        for number in range(1, submissions):
            time.sleep(max(0.0, begun + number * seconds / 2 / submissions - time.perf_counter()))
            sent.append(submitters.submit(load.submit, number))
        for one in sent:
            one.result()
    end.set()
    return load


def account(load: Load) -> dict[str, int]:
    """Ask for every submission, and cancel what did not come to its turn.

    Returns:
        How many jobs there are by state, with how many are ``lost``.
    """
    served, found, after = load.served, [], ""
    while True:
        page = served.ask("GET", f"/v1/jobs?limit=500{after}").json()
        found += page["jobs"]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    known = collections.Counter(job["id"] for job in found)
    states = collections.Counter(job["state"] for job in found)
    failed = [job["id"] for job in found if job["state"] in ("failed", "unmet")]
    lost = sum(known[job] != 1 for job in load.jobs) + len(set(known) - set(load.jobs)) + len(failed)
    for job in found:
        if job["state"] in ("queued", "running"):
            served.ask("POST", f"/v1/jobs/{job['id']}/cancel")
    until = time.monotonic() + ENDING
    while served.ask("GET", "/v1/jobs?state=cancelling").json()["jobs"] and time.monotonic() < until:
        time.sleep(0.5)
    return {**dict(sorted(states.items())), "lost": lost}


def percentile(times: list[float], share: float) -> float:
    """Give the time within which a share of all lie."""
    return sorted(times)[min(len(times) - 1, int(share * len(times)))]


def report(load: Load, states: dict[str, int], memory: int) -> bool:
    """Print what came out, write it as JSON, and say whether all is well."""
    figures: dict[str, Any] = {
        "submissions": len(load.jobs),
        "reads": len(load.reading),
        "reads_per_minute": len(load.reading) * 60 / load.seconds,
        "events": dict(load.events),
        "errors": len(load.errors),
        "jobs": states,
        "read_seconds": {f"p{round(100 * p)}": percentile(load.reading, p) for p in (0.5, 0.95, 0.99)},
        "submit_seconds": {f"p{round(100 * p)}": percentile(load.submitting, p) for p in (0.5, 0.95)},
        "memory_bytes": memory,
    }
    said = ", ".join(f"{count} {state}" for state, count in states.items() if state != "lost")
    times = {
        kind: ", ".join(f"{name} {1000 * value:.1f} ms" for name, value in figures[f"{kind}_seconds"].items())
        for kind in ("read", "submit")
    }
    well = not load.errors and not states["lost"] and figures["read_seconds"]["p95"] <= P95
    rows = [
        ("submissions", f"{len(load.jobs)}: {times['submit']}"),
        ("reads", f"{len(load.reading)} in {load.seconds:g} s: {times['read']} (wanted: p95 ≤ {1000 * P95:g} ms)"),
        ("events that followers got", json.dumps(dict(load.events))),
        ("errors", str(len(load.errors))),
        ("jobs when the load ended", said),
        ("lost", str(states["lost"])),
        ("memory of the service", f"{memory / 2**20:.0f} MiB"),
        ("all reached", "yes" if well else "NO"),
    ]
    print_table("The service under load", ["what", "figure"], rows)
    for error in load.errors[:10]:
        print(error)
    write_json("service", figures)
    return well


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description="The service under load")
    parser.add_argument("--quick", action="store_true", help="20 submissions, 10 followers, 20 seconds")
    parser.add_argument("--submissions", type=int)
    parser.add_argument("--followers", type=int)
    parser.add_argument("--reads", type=int, default=1000, help="a minute")
    parser.add_argument("--seconds", type=float)
    options = parser.parse_args()
    quick = options.quick
    with tempfile.TemporaryDirectory(prefix="autoshrink-service-") as folder:
        served = Served(Path(folder))
        try:
            load = loaded(
                served,
                options.submissions or (20 if quick else 200),
                options.followers or (10 if quick else 50),
                options.reads,
                options.seconds or (20.0 if quick else 120.0),
            )
            memory = served.memory()
            states = account(load)
        finally:
            served.close()
    return 0 if report(load, states, memory) else 1


if __name__ == "__main__":
    sys.exit(main())
