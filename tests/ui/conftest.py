"""A real search in a real MLflow server with the Pareto view, and a browser to look at it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright
from ui_looking import CHROMIUM, Looker, Searched, Served, serve


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the first test time for what all of them share: a search and two servers, on a machine that may be busy."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(1200))


@pytest.fixture(scope="session")
def searched(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Searched:
    """A small real search, logged to an SQLite store."""
    import mlflow

    folder = tmp_path_factory.mktemp("ui") / "digits"
    shutil.copytree(trained, folder)
    command = [sys.executable, "-m", "autoshrink", "search", "target.yaml", "--name", "one", "--json", "out.json"]
    own = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=own)
    assert done.returncode == 0, done.stdout + done.stderr
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("digits")
    [parent] = client.search_runs([experiment.experiment_id], "tags.`autoshrink.brief` LIKE '%'")
    return Searched(folder, json.loads((folder / "out.json").read_text()), parent.info.run_id)


@pytest.fixture(scope="session")
def served(searched: Searched) -> Iterator[Served]:
    """The Pareto view of that search."""
    yield from serve(searched.folder, f"sqlite:///{searched.folder}/mlflow.db")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        pytest.skip("no browser: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def looker(browser: Browser) -> Iterator[Looker]:
    context = browser.new_context(viewport={"width": 1360, "height": 960}, color_scheme="light", accept_downloads=True)
    found = Looker(context)
    yield found
    assert not found.errors
    context.close()
