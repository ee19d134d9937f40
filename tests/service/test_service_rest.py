"""The service as its users have it: a real search through all routes, killed in its middle, and who may do what."""

from __future__ import annotations

import io
import json
import re
import shutil
import signal
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from fastapi.routing import APIRoute
from serving import PARTS, Serving, serving
from typer.testing import CliRunner

from autoshrink.cli import app as cli
from autoshrink.service.server.app import create_app
from autoshrink.service.server.gate import OPEN
from autoshrink.service.server.runner import Processes
from autoshrink.service.server.service import Rules, Service, open_database

UNKNOWN = f"as_0123456789ab_{43 * 'x'}"
SUBMITS = {"POST /v1/jobs", "POST /v1/jobs/{job}/cancel", "POST /v1/jobs/{job}/resume", "POST /v1/jobs/{job}/pick"}


@pytest.fixture(scope="module")
def service(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("serving")
    shutil.copytree(trained, folder / "projects" / "digits")
    shutil.copytree(trained, folder / "data-only" / "plain")
    with serving(folder, "--allow-code", "projects", "--projects", "data-only") as service:
        yield service


@pytest.fixture(scope="module")
def searched(service: Serving) -> tuple[str, list[tuple[str, str, dict[str, Any]]]]:
    """A search during which the service was killed: the job, and all events that a follower came by."""
    wish = {"target": "digits/target.yaml", "candidates": 2}
    answers = [
        service.ask("POST", "/v1/jobs", "submit", json=wish, headers={"Idempotency-Key": "one"}) for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [201, 200]
    job = answers[0].json()["id"]
    assert re.fullmatch("j[0-9a-f]{12}", job)
    assert answers[1].json()["id"] == job
    events = []
    for event in service.events(job):
        events.append(event)
        if event[1] == "candidate":
            break
    service.end(signal.SIGKILL)
    service.start()
    events += service.events(job, last=events[-1][0])
    return job, events


def test_a_search_outlives_the_service_that_is_killed(service: Serving, searched) -> None:
    job, events = searched
    candidates = [data["id"] for _, kind, data in events if kind == "candidate" and data["accuracy"]["test"] is None]
    assert sorted(candidates) == [0, 1, 2], "each is told once, and found once"
    assert [kind for _, kind, _ in events][-2:] == ["state", "end"]
    assert events[-1][2]["state"] == "finished"
    measured = next(data for _, kind, data in events if kind == "candidate")
    assert measured["metrics"]["latency"]["value"] > 0
    shown = service.ask("GET", f"/v1/jobs/{job}", "read").json()
    assert (shown["tries"], shown["code"], shown["by"]) == (0, 0, "the-submit")
    assert shown["progress"]["finished"] == shown["progress"]["wanted"] == 2
    assert shown["progress"]["front"] >= 1
    assert shown["submitted"] < shown["started"] < shown["ended"]
    assert service.ask("POST", f"/v1/jobs/{job}/resume").status_code == 409
    assert service.ask("POST", f"/v1/jobs/{job}/cancel").status_code == 409


def test_its_front_and_its_files_are_fetched_and_one_is_picked(service: Serving, searched) -> None:
    job, _ = searched
    front = service.ask("GET", f"/v1/jobs/{job}/front", "read").json()
    assert front["search"] == job
    assert front["confirmed"]
    answer = service.ask("GET", f"/v1/jobs/{job}/artifacts/{front['front'][0]}", "read")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert {"recipe.yaml", "figures.json"} < set(archive.namelist())
        model = archive.read("model.onnx")
    chosen = next(item for item in front["candidates"] if item["id"] == front["front"][0])
    assert model == Path(chosen["artifact"]["files"][0]).read_bytes()
    assert service.ask("GET", f"/v1/jobs/{job}/artifacts/99").status_code == 404
    picked = service.ask("POST", f"/v1/jobs/{job}/pick", "submit", json={}).json()
    assert picked["candidate"] in front["front"]
    wish = {"candidate": front["front"][0], "register": "digits", "alias": "best"}
    registered = service.ask("POST", f"/v1/jobs/{job}/pick", "submit", json=wish)
    assert registered.status_code == 200, registered.text
    assert (registered.json()["model"], registered.json()["version"]) == ("digits", "1")
    for wrong in ({"alias": "best"}, {"candidate": 99}, {"prefer": "luck"}, {"candidat": 1}, {"register": "a\0b"}):
        assert service.ask("POST", f"/v1/jobs/{job}/pick", "submit", json=wrong).status_code == 422


def test_a_search_is_cancelled_and_gone_on_with(service: Serving) -> None:
    wish = {"target": str(service.folder / "projects/digits/target.yaml"), "candidates": 500}
    job = service.ask("POST", "/v1/jobs", "submit", json=wish).json()["id"]
    waits = service.upload(key="two").json()["id"]
    service.wait_for(job, "running")
    fails = service.upload({**PARTS, "net.onnx": b"no model at all"}).json()["id"]
    assert service.ask("GET", f"/v1/jobs/{waits}/front").status_code == 409
    assert service.ask("POST", f"/v1/jobs/{waits}/cancel", "submit").json()["state"] == "cancelled"
    assert next(data for _, kind, data in service.events(waits) if kind == "end")["state"] == "cancelled"
    assert service.ask("POST", f"/v1/jobs/{job}/cancel", "submit").json()["state"] == "cancelling"
    shown = service.wait_for(job, "cancelled")
    assert shown["reason"] == "cancelled"
    assert service.ask("POST", f"/v1/jobs/{job}/resume", "submit").json()["state"] == "queued"
    service.wait_for(job, "running")
    told: list[str] = []
    follower = threading.Thread(target=lambda: told.extend(kind for _, kind, _ in service.events(job)))
    follower.start()
    while not told:
        time.sleep(0.05)
    begun = time.monotonic()
    assert service.end() == 0, "and the follower does not keep it"
    follower.join()
    assert time.monotonic() - begun < 9
    assert "end" not in told
    service.start()
    assert service.ask("GET", f"/v1/jobs/{job}", "read").json()["state"] == "running"
    service.ask("POST", f"/v1/jobs/{job}/cancel", "submit")
    service.wait_for(job, "cancelled")
    failed = service.wait_for(fails, "failed")
    assert failed["code"] == 2
    assert "target.yaml" in failed["reason"], "the last lines of what the search printed"
    listed = service.ask("GET", "/v1/jobs?state=cancelled&limit=1", "read").json()
    assert [item["id"] for item in listed["jobs"]] == [waits]
    rest = service.ask("GET", f"/v1/jobs?state=cancelled&after={listed['next']}", "read").json()
    assert [item["id"] for item in rest["jobs"]] == [job]
    assert rest["next"] is None


def test_what_can_t_be_searched_is_said_with_file_and_line(service: Serving) -> None:
    data_only = service.folder / "data-only" / "plain" / "target.yaml"
    (data_only.parent / "wrong.yaml").write_text(data_only.read_text().replace("latency", "latencey"))
    (data_only.parent / "out.yaml").symlink_to("/etc/hosts")
    for path, said in (
        (str(data_only), "target.yaml:1: model: 'model.py' is Python code"),
        ("plain/wrong.yaml", "did you mean 'latency'"),
        ("plain/nowhere.yaml", "no file"),
        ("/etc/passwd", "in none of the folders"),
        ("../../etc/passwd", "in none of the folders"),
        ("plain/out.yaml", "no file"),
        ("digits/model.py", "no .yaml file"),
        ("digits/\0", "target"),
    ):
        answer = service.ask("POST", "/v1/jobs", "submit", json={"target": path})
        assert (answer.status_code, said in answer.json()["detail"]) == (422, True), answer.text
        assert "\n" not in answer.json()["detail"]
    ok = service.ask("POST", "/v1/jobs", "submit", json={"target": "digits/target.yaml", "time": "5"})
    assert "time:" in ok.json()["detail"]
    wrong = service.upload({**PARTS, "target.yaml": PARTS["target.yaml"].replace(b"net.onnx", b"model.py:build")})
    assert wrong.status_code == 422
    assert wrong.json()["detail"].startswith("target.yaml:1: model: 'model.py:build'")
    assert service.ask("POST", "/v1/jobs", "submit", data=b"x").status_code == 415
    assert service.upload(key="two").status_code == 200
    assert service.upload({**PARTS, "net.onnx": b"another"}, key="two").status_code == 409


def test_each_route_asks_for_the_role_that_it_needs(service: Serving, tmp_path: Path) -> None:
    for name, role, expires in (("late", "admin", "1 ms"), ("gone", "admin", "30d")):
        made = service.ask("POST", "/v1/tokens", json={"name": name, "role": role, "expires": expires})
        assert made.status_code == 201, made.text
        service.tokens[name] = made.json()["token"]
    assert service.ask("DELETE", "/v1/tokens/gone").status_code == 204
    assert service.ask("DELETE", "/v1/tokens/gone").status_code == 404
    described = Service(tmp_path, open_database(tmp_path, None), Processes(tmp_path, tmp_path), Rules())
    routes = [route for route in create_app(described).routes if isinstance(route, APIRoute)]
    described.database.close()
    assert len(routes) > 12
    for route in routes:
        for method in route.methods:
            path = re.sub(r"{\w+}", "1", route.path)
            if route.path in OPEN:
                assert service.ask(method, path, secret="").status_code == 200
                continue
            for secret in (
                "",
                "nonsense",
                "as_0123456789ab_" + 43 * "x",
                service.tokens["late"],
                service.tokens["gone"],
            ):
                answer = service.ask(method, path, secret=secret, json={})
                assert (answer.status_code, "WWW-Authenticate" in answer.headers) == (401, True), (method, path)
            needs = "submit" if f"{method} {route.path}" in SUBMITS else "read"
            needs = "admin" if route.path.startswith(("/v1/tokens", "/v1/audit")) else needs
            weaker = {"read": [], "submit": ["read"], "admin": ["read", "submit"]}[needs]
            for role in weaker:
                assert service.ask(method, path, role, json={}).status_code == 403, (method, path, role)
            assert service.ask(method, path, needs, json={}).status_code not in (401, 403), (method, path)
    assert service.ask("GET", "/nowhere", secret="").status_code == 401


def test_the_audit_log_says_who_did_what_and_holds_no_secret(service: Serving) -> None:
    job = service.upload().json()["id"]
    service.ask("POST", f"/v1/jobs/{job}/cancel", "submit")
    service.ask("POST", f"/v1/jobs/{job}/cancel", "read")
    service.ask("GET", f"/v1/jobs/{job}", "read")
    about = [entry for entry in service.ask("GET", "/v1/audit?limit=50").json() if entry["job"] == job]
    assert [(entry["who"], entry["action"], entry["outcome"]) for entry in about] == [
        ("the-read", "POST /v1/jobs/{job}/cancel", "403"),
        ("the-submit", "POST /v1/jobs/{job}/cancel", "200"),
        ("the-submit", "POST /v1/jobs", "201"),
    ]
    assert {entry["address"] for entry in about} == {"127.0.0.1"}
    own = service.store / ".service"
    lines = [json.loads(line) for line in (own / "audit.jsonl").read_text().splitlines()]
    assert [line["outcome"] for line in lines if line["job"] == job] == ["201", "200", "403"]
    kept = b"".join(file.read_bytes() for file in own.glob("*") if file.is_file())
    for secret in service.tokens.values():
        assert secret.rpartition("_")[2].encode() not in kept
    assert own.stat().st_mode & 0o077 == 0


def test_the_figures_count_what_was_asked(service: Serving) -> None:
    assert service.ask("GET", "/v1/jobs").status_code == 200
    text = service.ask("GET", "/metrics", "read").text
    counted = re.search(r'autoshrink_requests_total{method="GET",route="/v1/jobs",status="200"} (\d+)', text)
    assert counted is not None
    assert int(counted[1]) >= 1
    assert 'autoshrink_jobs{state="queued"} 0.0' in text
    assert "autoshrink_request_seconds_bucket" in text
    assert service.process is not None
    assert "libtorch" not in Path(f"/proc/{service.process.pid}/maps").read_text(), "nobody waits for it, nor feeds it"
    paths = service.ask("GET", "/openapi.json", "read").json()["paths"]
    assert "/v1/jobs/{job}/events" in paths


def test_tokens_are_made_and_revoked_on_the_command_line(service: Serving) -> None:
    where = ["--store", str(service.store)]
    made = CliRunner().invoke(cli, ["tokens", "add", "bob", "--role", "submit", "--expires", "30d", *where])
    assert made.exit_code == 0, made.output
    secret = made.stdout.strip()
    assert service.ask("GET", "/v1/jobs", secret=secret).status_code == 200
    listed = CliRunner().invoke(cli, ["tokens", "list", *where]).output
    assert "bob" in listed
    assert secret not in listed
    assert CliRunner().invoke(cli, ["tokens", "revoke", "bob", *where]).exit_code == 0
    assert service.ask("GET", "/v1/jobs", secret=secret).status_code == 401
    again = CliRunner().invoke(cli, ["tokens", "revoke", "bob", *where])
    assert (again.exit_code, "no token 'bob'" in again.output) == (2, True)
    other = CliRunner().invoke(cli, ["serve", "--port", "0", *where])
    assert (other.exit_code, "being served by another" in other.output) == (2, True)


def test_too_much_and_too_often_is_refused(tmp_path: Path) -> None:
    with serving(tmp_path, "--body-limit", "20 KiB", "--submissions", "3", "--requests", "30") as service:

        def blocks() -> Iterator[bytes]:  # without a length ahead
            for _ in range(100):
                yield bytes(1000)

        headers = {"Content-Type": "application/zip"}
        for body in (blocks(), bytes(30_000)):
            try:
                answer = service.ask("POST", "/v1/jobs", "submit", data=body, headers=headers)
            except requests.ConnectionError:  # the service hangs up while more is sent
                continue
            assert answer.status_code == 413
        assert service.ask("GET", "/v1/jobs").json()["jobs"] == []
        assert service.upload().status_code == 201
        refused = service.upload()
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["Retry-After"]) <= 20
        codes = [service.ask("GET", "/v1/jobs", "read").status_code for _ in range(60)]
        assert set(codes) == {200, 429}
        assert service.ask("GET", "/readyz", secret="").status_code == 200
