"""A page in headless Chromium: what becomes of it, and what it asks the network for."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")


def opened(page: Path, folder: Path) -> tuple[str, list[str]]:
    """Open a page from the disk.

    Returns:
        Its document after all scripts ran, and every address that the page asked for, the browser's own left out.
    """
    if not CHROMIUM.exists():
        pytest.skip(f"no {CHROMIUM} to open the page with: apt-get install chromium")
    log = folder / "network.json"
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={folder}/profile", f"--log-net-log={log}", "--dump-dom"]
    done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    events = json.loads(log.read_text())["events"]
    own = [event["params"] for event in events if "file://" in event.get("params", {}).get("network_isolation_key", "")]
    return done.stdout, sorted({params["url"] for params in own if not params["url"].startswith("file://")})
