"""A search that is killed again and again: the service, the driver, its workers and Ray's own process, by SIGKILL.

    python benchmarks/soak.py                 # 36 kills over 200 candidates: about ten minutes on two cores
    python benchmarks/soak.py --quick         # 6 kills over 25 candidates: a minute and a half
    python benchmarks/soak.py --kills 100 --candidates 1000 --seed 3

`autoshrink serve` runs one search; at random moments one of its processes is killed. A service that is gone is started
again, and a search that died more often than the service resumes it is resumed by request. The service, its queue, the
driver, Ray, the store, the study and MLflow are the real ones; only the workers pretend, a candidate taking a second or
two (`soak_work/`). In the end it is counted what is there, and how often. The exit code is 1 where a count is wrong.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
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
from typing import Any, TextIO

import psutil
import requests
from reporting import print_table, write_json
from soak_counts import checks

from autoshrink.core import catalog_folder

HERE = Path(__file__).resolve().parent
VICTIMS = {"driver": 3, "worker": 3, "raylet": 2, "service": 2}
"""What is killed, and how often beside the others."""
PAUSE = (1.0, 16.0)
"""Seconds between two kills."""
LOOK = 0.2
ENDING = 900.0
"""Seconds that the search may take after the last kill."""
WORKER = re.compile(r"^ray::(?!IDLE_SpillWorker|IDLE_RestoreWorker)")


@dataclass
class Soak:
    """The service, what it runs, and what was seen of it."""

    folder: Path
    candidates: int
    chance: random.Random
    job: str = ""
    killed: list[str] = field(default_factory=list)
    seen: dict[int, str] = field(default_factory=dict)
    """The key of each candidate that was ever seen as finished."""
    begun: set[psutil.Process] = field(default_factory=set)
    """Every process that was ever seen, among them those whose parents were killed."""
    resumed: int = 0
    restarts: int = 0

    def __post_init__(self) -> None:
        project = self.folder / "projects" / "digits"
        shutil.copytree(catalog_folder("examples") / "digits", project)
        if not (project / "weights.safetensors").exists():
            subprocess.run([sys.executable, "train.py"], cwd=project, check=True, capture_output=True)
        text = (project / "target.yaml").read_text()
        text = re.sub(r"(?m)^(accuracy|budget|search): .*$", "", text)
        text += "accuracy: {max_drop: 0.03}\nbudget: {latency: 80 us, size: 500 kB}\n"
        text += f"search: {{space: cnn, candidates: {self.candidates}, workers: 2, seed: 0}}\n"
        (project / "target.yaml").write_text(text)
        self.store = self.folder / "store"
        self.mlflow = f"sqlite:///{self.folder}/mlflow.db"
        made = subprocess.run(
            [sys.executable, "-m", "autoshrink", "tokens", "add", "soak", "--role", "submit", "--store", self.store],
            check=True,
            capture_output=True,
            text=True,
        )
        self._headers = {"Authorization": f"Bearer {made.stdout.strip()}"}
        self._service: psutil.Popen | None = None
        self._log: TextIO = (self.folder / "serve.log").open("a", encoding="utf-8")

    def serve(self) -> None:
        """Start the service, and find its address."""
        path = os.pathsep.join([str(HERE / "soak_work"), *filter(None, [os.environ.get("PYTHONPATH")])])
        own = {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "MLFLOW_TRACKING_URI": self.mlflow, "OMP_NUM_THREADS": "1"}
        program = [sys.executable, "-m", "autoshrink", "serve"]
        self._service = psutil.Popen(
            [*program, "--port", "0", "--store", str(self.store), "--allow-code", str(self.folder / "projects")],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, **own},
        )
        stream = self._service.stdout
        found = next((match for line in stream if (match := re.match(r"Serving (http://\S+)/v1", line))), None)
        if found is None:
            raise SystemExit((self.folder / "serve.log").read_text())
        self.root = found[1]
        # What it says later must be taken from it, or it would wait.
        threading.Thread(target=collections.deque, args=(stream, 0), daemon=True).start()

    def ask(self, method: str, path: str, **given: Any) -> Any:
        """Ask the service something."""
        answer = requests.request(method, self.root + path, headers=self._headers, timeout=60, **given)
        answer.raise_for_status()
        return answer.json()

    def submit(self) -> None:
        """Submit the search, twice with one key."""
        for _ in range(2):
            wish = {"method": "POST", "url": f"{self.root}/v1/jobs", "json": {"target": "digits/target.yaml"}}
            answer = requests.request(**wish, headers={**self._headers, "Idempotency-Key": "soak"}, timeout=60)
            answer.raise_for_status()
            self.job = answer.json()["id"]

    def look(self) -> str:
        """See what is finished, mend what has to be, and give the job's state."""
        for candidate in self.finished():
            known = self.seen.setdefault(candidate["id"], candidate["key"])
            if known != candidate["key"]:
                raise SystemExit(f"candidate {candidate['id']} was {known} and is now {candidate['key']}")
        assert self._service is not None
        if self._service.poll() is not None:
            self.serve()
            self.restarts += 1
        state: str = self.ask("GET", f"/v1/jobs/{self.job}")["state"]
        if state in ("failed", "cancelled"):
            self.ask("POST", f"/v1/jobs/{self.job}/resume")
            self.resumed += 1
        return state

    def finished(self) -> list[dict[str, Any]]:
        """Read the records of the store as they are, but for a line that is being written."""
        path = self.store / self.job / "candidates.jsonl"
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        records = [json.loads(line) for line in lines if line.endswith(b"\n")]
        return [{"id": record["id"], "key": json.dumps(record["recipe"], sort_keys=True)} for record in records]

    def kill(self) -> str:
        """Kill one process, chosen by chance; gives what it was, empty where there is none now."""
        kind = self.chance.choices(list(VICTIMS), list(VICTIMS.values()))[0]
        processes = self.running()[kind]
        if not processes:
            return ""
        victim = self.chance.choice(processes)
        try:
            victim.kill()
        except psutil.NoSuchProcess:
            return ""
        return kind

    def running(self) -> dict[str, list[psutil.Process]]:
        """Find the processes of this soak by what they are."""
        found: dict[str, list[psutil.Process]] = {kind: [] for kind in VICTIMS}
        if self._service is not None and self._service.poll() is None:
            found["service"] = [self._service]
        for process in psutil.process_iter(["cmdline", "name"]):
            words = process.info["cmdline"] or []
            if "search" in words and str(self.store) in words and "python" in Path(words[0]).name:
                found["driver"].append(process)
        self.begun.update(found["service"], found["driver"])
        for driver in found["driver"]:
            try:
                below = driver.children(recursive=True)
            except psutil.NoSuchProcess:
                continue
            self.begun.update(below)
            for process in below:
                with process.oneshot():
                    try:
                        name, line = process.name(), " ".join(process.cmdline())
                    except psutil.Error:
                        continue
                if name == "raylet":
                    found["raylet"].append(process)
                elif WORKER.match(line):
                    found["worker"].append(process)
        return found

    def close(self) -> list[str]:
        """End the service; gives what is left running of this soak."""
        assert self._service is not None
        self.running()
        self._service.send_signal(signal.SIGTERM)
        self._service.wait(timeout=60)
        self._log.close()
        until = time.monotonic() + 30
        while (left := [said for process in self.begun if (said := _alive(process))]) and time.monotonic() < until:
            time.sleep(LOOK)
        return left


def _alive(process: psutil.Process) -> str:
    """Say what a process is; empty where it has ended."""
    try:
        over = not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
        return "" if over else f"{process.pid} {process.name()}"
    except psutil.NoSuchProcess:
        return ""


def run(soak: Soak, kills: int) -> None:
    """Search and kill until there were enough kills and the search has come to its end."""
    soak.serve()
    soak.submit()
    due = time.monotonic() + soak.chance.uniform(*PAUSE)
    until = time.monotonic() + ENDING + kills * PAUSE[1]
    while (state := soak.look()) not in ("finished", "unmet"):
        if time.monotonic() > until:
            raise SystemExit(f"the search does not end: {state}, {len(soak.seen)} candidates")
        if len(soak.killed) < kills and time.monotonic() >= due:
            kind = soak.kill()
            if kind:
                soak.killed.append(kind)
                print(f"  {len(soak.killed):3} {kind:8} killed; {len(soak.seen)} candidates", flush=True)
                due = time.monotonic() + soak.chance.uniform(*PAUSE)
        time.sleep(LOOK)


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description="A search that is killed again and again")
    parser.add_argument("--quick", action="store_true", help="6 kills over 25 candidates")
    parser.add_argument("--kills", type=int)
    parser.add_argument("--candidates", type=int)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    kills = options.kills or (6 if options.quick else 36)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="autoshrink-soak-") as folder:
        soak = Soak(Path(folder), options.candidates or (25 if options.quick else 200), random.Random(options.seed))
        try:
            run(soak, kills)
            found = checks(soak, kills)
        finally:
            left = soak.close()
    found["nothing is left running"] = (not left, ", ".join(left) or f"none of {len(soak.begun)} processes")
    rows = [(what, "yes" if well else "NO", said) for what, (well, said) in found.items()]
    print_table(
        f"{len(soak.killed)} kills in {time.monotonic() - begun:.0f} s", ["what must hold", "does", "found"], rows
    )
    write_json(
        "soak",
        {
            "kills": collections.Counter(soak.killed),
            "seconds": time.monotonic() - begun,
            "checks": {what: {"holds": well, "found": said} for what, (well, said) in found.items()},
        },
    )
    return 0 if all(well for well, _ in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
