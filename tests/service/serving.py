"""``autoshrink serve`` in a process of its own, and those who talk to it."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from autoshrink.service.server.service import open_database
from autoshrink.service.server.tokens import Role, Tokens

TARGET = """\
model: net.onnx
data: digits.npz
accuracy: {max_drop: 0.05}
hardware: cpu
budget: {latency: 5 ms, size: 1 MB}
search: {space: small, candidates: 3}
"""
PARTS: dict[str, bytes] = {"target.yaml": TARGET.encode(), "net.onnx": b"no model", "digits.npz": b"no data"}


def packed(parts: Mapping[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, part in parts.items():
            archive.writestr(zipfile.ZipInfo(name), part)  # without the time, so that equal parts make equal archives
    return content.getvalue()


class Serving:
    """A service on a free port, which can be killed and started again."""

    def __init__(self, folder: Path, *options: str, database: str | None = None) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.options = (*options, *(["--database", database] if database else []))
        self.process: subprocess.Popen[str] | None = None
        self.root = ""
        kept = open_database(self.store, database)
        self.tokens = {role.value: Tokens(kept).add(f"the-{role}", role) for role in Role}
        kept.close()
        self._sessions = {"": requests.Session()}

    def start(self) -> None:
        command = [sys.executable, "-m", "autoshrink", "serve", "--port", "0", "--store", str(self.store)]
        own = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
        log = (self.folder / "serve.log").open("a", encoding="utf-8")
        with log:
            self.process = subprocess.Popen(
                [*command, *self.options], cwd=self.folder, stdout=subprocess.PIPE, stderr=log, text=True, env=own
            )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.match(r"Serving (http://\S+)/v1", line):
                self.root = found[1]
                return
        raise AssertionError((self.folder / "serve.log").read_text())

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.send_signal(number)
        code = self.process.wait(timeout=60)
        self.process.stdout.close()
        return code

    def ask(
        self, method: str, path: str, role: str = "admin", secret: str | None = None, **given: Any
    ) -> requests.Response:
        secret = self.tokens[role] if secret is None else secret
        headers = {**({"Authorization": f"Bearer {secret}"} if secret else {}), **given.pop("headers", {})}
        return self._sessions[""].request(method, self.root + path, headers=headers, timeout=60, **given)

    def upload(self, parts: Mapping[str, bytes] = PARTS, key: str = "", **given: Any) -> requests.Response:
        headers = {"Content-Type": "application/zip", **({"Idempotency-Key": key} if key else {})}
        return self.ask("POST", "/v1/jobs", "submit", data=packed(parts), headers=headers, **given)

    def events(self, job: str, last: str = "") -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Follow a job: place, kind and data of each event."""
        headers = {"Authorization": f"Bearer {self.tokens['read']}", **({"Last-Event-ID": last} if last else {})}
        path = f"{self.root}/v1/jobs/{job}/events"
        with requests.get(path, headers=headers, stream=True, timeout=120) as stream:
            assert stream.status_code == 200, stream.text
            event: dict[str, str] = {}
            for line in stream.iter_lines(decode_unicode=True):
                name, _, value = line.partition(": ")
                if name:
                    event[name] = value
                elif "data" in event:
                    yield event["id"], event["event"], json.loads(event["data"])
                    event = {}

    def wait_for(self, job: str, *states: str, within: float = 120.0) -> dict[str, Any]:
        until = time.monotonic() + within
        while True:
            shown: dict[str, Any] = self.ask("GET", f"/v1/jobs/{job}", "submit").json()
            if shown.get("state") in states:
                return shown
            assert time.monotonic() < until, shown
            time.sleep(0.2 if "state" in shown else 2.0)  # asked too often

    def close(self) -> None:
        self._sessions[""].close()


@contextmanager
def serving(folder: Path, *options: str, database: str | None = None) -> Iterator[Serving]:
    """Serve a fresh store, and leave nothing running."""
    service = Serving(folder, *options, database=database)
    service.start()
    try:
        yield service
    finally:
        for job in service.ask("GET", "/v1/jobs?limit=500").json()["jobs"]:
            if job["state"] in ("queued", "running"):
                service.ask("POST", f"/v1/jobs/{job['id']}/cancel")
        for job in service.ask("GET", "/v1/jobs?state=cancelling").json()["jobs"]:
            service.wait_for(job["id"], "cancelled", "finished", "unmet")
        assert service.end() == 0
        service.close()
