"""What the tests of the view share: a server, a search, and a window to look at them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, Page, expect

CHROMIUM = "/usr/bin/chromium"
SCREENSHOTS = Path(os.environ.get("AUTOSHRINK_SCREENSHOTS", "build/screenshots")).resolve()

expect.set_options(timeout=20_000)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Served:
    """A server that runs."""

    port: int
    folder: Path
    store: str

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def view(self) -> str:
        return f"{self.root}/autoshrink"


def serve(folder: Path, store: str, *options: str, env: dict[str, str] | None = None) -> Iterator[Served]:
    """Run ``autoshrink ui`` until the test is over."""
    port = free_port()
    command = [sys.executable, "-m", "autoshrink", "ui", "--store", store, "--port", str(port), *options]
    log = folder / f"ui-{port}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=folder, stdout=file, stderr=file, start_new_session=True, env={**os.environ, **(env or {})}
        )
    try:
        deadline = time.monotonic() + 300
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, f"the server did not come up:\n{log.read_text()}"
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                    break
            except OSError:
                time.sleep(0.2)
        yield Served(port, folder, store)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@dataclass
class Searched:
    """A finished search, as the command line made it."""

    folder: Path
    document: dict[str, Any]
    parent: str

    @property
    def front(self) -> list[int]:
        return list(self.document["front"])

    def candidate(self, number: int) -> dict[str, Any]:
        return next(item for item in self.document["candidates"] if item["id"] == number)


class Looker:
    """A browser's window, which remembers what went wrong in it."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self.page: Page = context.new_page()
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.errors.append(f"dialog: {dialog.message}"), dialog.dismiss()))

    def open(self, address: str) -> Page:
        self.page.goto(address)
        return self.page

    def search(self, served: Served, run: str, state: str = "") -> Page:
        self.page.goto("about:blank")  # else a change of the state alone loads nothing
        self.page.goto(f"{served.view}/searches/{run}{state}")
        expect(self.page.locator("#main")).to_be_visible()
        expect(self.page.locator("#limits input").first).to_be_attached()
        return self.page

    def shoot(self, name: str, *, whole: bool = False) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=whole, animations="disabled")


def shown_front(page: Page) -> list[int]:
    """The ids in the table of the front."""
    ids = page.eval_on_selector_all("[data-candidate]", "rows => rows.map(r => r.dataset.candidate)")
    return [int(text) for text in ids]
