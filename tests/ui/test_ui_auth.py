"""MLflow's basic authentication on PostgreSQL, with artifacts that the server keeps: who may not read sees nothing."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from playwright.sync_api import Browser, expect
from ui_looking import Looker, Served, free_port, serve, shown_front
from ui_simulated import LIMITS, candidates, target

from autoshrink.core import Artifact, Front, judge
from autoshrink.tracking.tracker import Tracker

POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
ADMIN, READER, STRANGER = "admin", "reader", "stranger"


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server of our own: the address of a database in it."""
    if not POSTGRES:
        pytest.skip("no PostgreSQL: apt-get install postgresql")
    place = Path(f"/tmp/autoshrink-postgres-{os.getpid()}")
    place.mkdir(mode=0o700)
    own = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
    if own:
        subprocess.run(["chown", "nobody:nogroup", place], check=True)
    port = free_port()

    def run(*command: str) -> None:
        done = subprocess.run(
            [*own, *command], cwd=place, capture_output=True, text=True, env={**os.environ, "HOME": str(place)}
        )
        assert done.returncode == 0, done.stdout + done.stderr

    binaries = POSTGRES[-1]
    try:
        run(f"{binaries}/initdb", "-D", f"{place}/data", "-U", "tester", "-A", "trust", "--no-sync", "-E", "UTF8")
        options = f"-k {place} -p {port} -h 127.0.0.1 -c fsync=off -c full_page_writes=off"
        run(f"{binaries}/pg_ctl", "-D", f"{place}/data", "-o", options, "-l", f"{place}/log", "-w", "start")
        run(f"{binaries}/createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "tester", "tracking")
        yield f"postgresql://tester@127.0.0.1:{port}/tracking"
    finally:
        subprocess.run(
            [*own, f"{binaries}/pg_ctl", "-D", f"{place}/data", "-m", "immediate", "stop"],
            check=False,
            capture_output=True,
        )
        subprocess.run(["rm", "-rf", place], check=True)


@pytest.fixture(scope="module")
def passwords() -> dict[str, str]:
    return {name: secrets.token_urlsafe(18) for name in (ADMIN, READER, STRANGER)}


@pytest.fixture(scope="module")
def guarded(postgres: str, passwords: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """``autoshrink ui --basic-auth`` on that database; nobody may do anything by default."""
    folder = tmp_path_factory.mktemp("guarded")
    settings = folder / "auth.ini"
    settings.write_text(
        "[mlflow]\ndefault_permission = NO_PERMISSIONS\n"
        f"database_uri = sqlite:///{folder}/auth.db\nadmin_username = {ADMIN}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        "auth_cache_ttl_seconds = 600\n"  # each request takes 0.2 s of hashing else
    )
    env = {"MLFLOW_AUTH_CONFIG_PATH": str(settings), "MLFLOW_AUTH_ADMIN_PASSWORD": passwords[ADMIN]}
    yield from serve(folder, postgres, "--basic-auth", "--artifacts", str(folder / "kept"), env=env)


def ask(served: Served, path: str, who: str, passwords: dict[str, str], body: object = None) -> tuple[int, str]:
    """One request in somebody's name, as a page of the server would send it."""
    given = {"Origin": served.root, "Content-Type": "application/json", "Sec-Fetch-Site": "same-origin"}
    if who:
        given["Authorization"] = "Basic " + b64encode(f"{who}:{passwords[who]}".encode()).decode()
    content = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(served.root + path, content, given)) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")


@contextmanager
def named(who: str, passwords: dict[str, str]) -> Iterator[None]:
    """MLflow's client as somebody."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_USERNAME", who)
        patch.setenv("MLFLOW_TRACKING_PASSWORD", passwords[who])
        yield


@pytest.fixture(scope="module")
def secret(guarded: Served, passwords, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, Front]:
    """A search of the administrator's that a reader may read: its run, a candidate's run, and its front."""
    folder = tmp_path_factory.mktemp("secret")
    found = candidates(12, 5)
    weight = numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "linear", ends[:1], ends[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save_model(model, folder / "model.onnx")
    size = (folder / "model.onnx").stat().st_size
    artifact = Artifact(key="kept", backend="onnxruntime", files=("model.onnx",), size=size)
    found = [one if one.outcome != "measured" else one.model_copy(update={"artifact": artifact}) for one in found]
    front = judge(found, ("accuracy", "latency", "size"), LIMITS)
    with named(ADMIN, passwords):
        tracker = Tracker(folder, target("secret"), "secret-1", guarded.root)
        tracker.start({"key": "simulated"}, found[0], LIMITS)
        said = tracker.finish(front, lambda _: folder, [])
        assert said.startswith("http"), said
        parent, entry = tracker._ledger.parent, tracker._ledger.cursor.runs[front.members[0].id]
        experiment = tracker._ledger.experiment
    for who in (READER, STRANGER):
        user = {"username": who, "password": passwords[who]}
        assert ask(guarded, "/api/2.0/mlflow/users/create", ADMIN, passwords, user)[0] == 200
    grant = {"experiment_id": experiment, "username": READER, "permission": "READ"}
    code, told = ask(guarded, "/api/2.0/mlflow/experiments/permissions/create", ADMIN, passwords, grant)
    if code != 200:
        grant = {"username": READER, "resource_type": "experiment", "resource_id": experiment, "permission": "READ"}
        code, told = ask(guarded, "/api/3.0/mlflow/users/permissions/grant", ADMIN, passwords, grant)
    assert code == 200, told
    return parent, str(entry.run), front


def test_who_is_not_known_sees_nothing(guarded: Served, passwords, secret) -> None:
    parent, run, _ = secret
    paths = ["/", f"/searches/{parent}", "/api/searches", f"/api/searches/{parent}", f"/api/searches/{parent}/history"]
    for path in [*paths, f"/api/candidates/{run}/layers", f"/api/candidates/{run}/files.zip"]:
        code, told = ask(guarded, f"/autoshrink{path}", "", passwords)
        assert code == 401, path
        assert "secret" not in told
    assert ask(guarded, "/autoshrink/api/pick", "", passwords, {"run": run, "model": "stolen"})[0] == 401


def test_who_may_not_read_the_experiment_sees_and_picks_nothing(guarded: Served, passwords, secret) -> None:
    parent, run, _ = secret
    code, told = ask(guarded, "/autoshrink/api/searches", STRANGER, passwords)
    assert (code, json.loads(told)) == (200, {"searches": []})
    paths = [
        f"searches/{parent}",
        f"searches/{parent}/history",
        f"candidates/{run}/layers",
        f"candidates/{run}/files.zip",
    ]
    for path in paths:
        code, told = ask(guarded, f"/autoshrink/api/{path}", STRANGER, passwords)
        assert code == 403, path
        assert "secret" not in told
    assert ask(guarded, "/autoshrink/api/pick", STRANGER, passwords, {"run": run, "model": "stolen"})[0] == 403
    code, told = ask(guarded, "/api/2.0/mlflow/registered-models/get?name=stolen", ADMIN, passwords)
    assert code == 404, told


def test_who_may_read_it_sees_the_search_in_the_browser(guarded: Served, passwords, secret, browser: Browser) -> None:
    parent, _, front = secret
    context = browser.new_context(http_credentials={"username": READER, "password": passwords[READER]})
    looker = Looker(context)
    page = looker.open(f"{guarded.view}/")
    expect(page.locator("tr[data-search=secret-1]")).to_contain_text("secret")
    page = looker.search(guarded, parent)
    assert shown_front(page) == [member.id for member in front.members]
    assert not looker.errors
    context.close()

    context = browser.new_context(http_credentials={"username": STRANGER, "password": passwords[STRANGER]})
    looker = Looker(context)
    page = looker.open(f"{guarded.view}/searches/{parent}")
    expect(page.locator("#wait")).to_have_text("Permission denied")
    context.close()


def test_the_administrator_picks_and_the_model_loads_over_the_server(guarded: Served, passwords, secret) -> None:
    import mlflow

    _, run, front = secret
    wish = {"run": run, "model": "kept", "alias": "best"}
    code, told = ask(guarded, "/autoshrink/api/pick", ADMIN, passwords, wish)
    assert code == 200, told
    assert json.loads(told)["line"] == 'mlflow.onnx.load_model("models:/kept@best")'
    with named(ADMIN, passwords), pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", guarded.root)
        loaded = mlflow.onnx.load_model("models:/kept@best")
        version = mlflow.MlflowClient(guarded.root).get_model_version_by_alias("kept", "best")
    assert version.tags["autoshrink.candidate"] == str(front.members[0].id)
    np.testing.assert_array_equal(numpy_helper.to_array(loaded.graph.initializer[0]), np.eye(4))
    code, _ = ask(guarded, f"/autoshrink/api/candidates/{run}/files.zip", ADMIN, passwords)
    assert code == 200
