"""What other sites, hostile files and clumsy clients can't do."""

from __future__ import annotations

import http.server
import json
import random
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import mlflow
import pytest
from playwright.sync_api import expect
from ui_looking import Looker, Searched, Served
from ui_simulated import LIMITS, candidate, target

from autoshrink.core import judge
from autoshrink.tracking.tracker import Tracker

HOSTILE = "<img src=x onerror=window.hacked=1>"


def post(served: Served, body: object, headers: dict[str, str]) -> tuple[int, str]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"{served.view}/api/pick", content, headers, method="POST")
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def run_of(served: Served, searched: Searched, number: int) -> str:
    """The MLflow run of a candidate."""
    client = mlflow.MlflowClient(served.store)
    experiment = client.get_run(searched.parent).info.experiment_id
    [run] = client.search_runs([experiment], f"tags.`autoshrink.candidate` = '{number}'")
    return str(run.info.run_id)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Content-Type": "application/json"}, 403),
        ({"Content-Type": "application/json", "Origin": "http://evil.example"}, 403),
        ({"Content-Type": "application/json", "Origin": "http://localhost:1"}, 403),
        ({"Content-Type": "application/json", "Sec-Fetch-Site": "cross-site", "Origin": "OWN"}, 403),
        ({"Content-Type": "application/json", "Sec-Fetch-Site": "same-site", "Origin": "OWN"}, 403),
        ({"Content-Type": "application/json", "Sec-Fetch-Site": "none"}, 403),
        ({"Content-Type": "text/plain", "Sec-Fetch-Site": "same-origin", "Origin": "OWN"}, 422),
        ({"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}, 422),
    ],
)
def test_a_pick_needs_a_request_of_the_same_origin(served: Served, searched: Searched, headers, code) -> None:
    own = {name: served.root if value == "OWN" else value for name, value in headers.items()}
    wish = {"run": run_of(served, searched, searched.front[-1]), "model": "stolen"}
    assert post(served, wish, own)[0] == code
    client = mlflow.MlflowClient(served.store)
    assert not [model for model in client.search_registered_models() if model.name == "stolen"]


def test_a_pick_of_what_is_no_candidate_says_so(served: Served, searched: Searched) -> None:
    own = {"Content-Type": "application/json", "Origin": served.root}
    code, told = post(served, {"run": searched.parent, "model": "net"}, own)
    assert code == 422
    assert "MLflow has no files of this candidate" in told
    code, told = post(served, {"run": "0" * 32, "model": "net"}, own)
    assert code == 404
    assert post(served, {"run": "../x", "model": "net"}, own)[0] == 422
    assert post(served, b"{", own)[0] == 422


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """A page of another origin."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>elsewhere</title>")

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


def test_a_page_of_another_site_picks_and_reads_nothing(
    served: Served, searched: Searched, looker: Looker, elsewhere: str
) -> None:
    page = looker.open(elsewhere)
    wish = {"run": run_of(served, searched, searched.front[-1]), "model": "stolen"}
    tried = page.evaluate(
        """async ([address, wish]) => {
          const out = [];
          const ask = async (path, given) => {
            try { out.push((await fetch(address + path, given)).status); } catch { out.push("blocked"); }
          };
          const json = "application/json", text = "text/plain";
          for (const [mode, type] of [["cors", json], ["no-cors", text], ["cors", text]]) {
            const [headers, body] = [{ "Content-Type": type }, JSON.stringify(wish)];
            await ask("/api/pick", { method: "POST", mode, headers, body, credentials: "include" });
          }
          await ask("/api/searches", { credentials: "include" });
          return out;
        }""",
        [served.view, wish],
    )
    assert set(tried) <= {"blocked", 0, 403, 422}
    client = mlflow.MlflowClient(served.store)
    assert not [model for model in client.search_registered_models() if model.name == "stolen"]


def test_the_policy_lets_no_script_in(served: Served, searched: Searched) -> None:
    for path in ("/", f"/searches/{searched.parent}", "/api/searches", "/static/search.js"):
        with urllib.request.urlopen(served.view + path) as answer:
            policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy


def test_hostile_names_and_recipes_are_text(served: Served, looker: Looker, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    chance = random.Random(0)
    asked = target(HOSTILE, hardware='"><script>window.hacked=1</script>')
    found = [candidate(number, chance, kind=f"<b onclick='window.hacked=1'>{HOSTILE}</b>") for number in range(30)]
    found.append(found[-1].model_copy(update={"id": 30, "outcome": "refused", "reason": f"{HOSTILE} </script>"}))
    front = judge(found, asked.metrics, LIMITS)
    tracker = Tracker(tmp_path, asked, HOSTILE, served.store)
    tracker.start({"key": HOSTILE}, found[0], LIMITS)
    tracker.log(found[1])
    tracker._inbox.put(None)
    tracker._thread.join()
    for one in found:
        tracker._waiting[one.id] = one.model_dump_json()
    tracker._send_waiting()
    # What anybody who may write to MLflow can write, and what a browser would choke on.
    client, parent = tracker._ledger.client, tracker._ledger.parent
    for text in (
        "{",
        "[]",
        '{"id": NaN}',
        '{"id": 99, "metrics": 7, "steps": {"a": 1}, "accuracy": "x"}',
        f'"{HOSTILE}"',
    ):
        tags = {"mlflow.parentRunId": parent, "autoshrink.point": text}
        client.create_run(tracker._ledger.experiment, tags=tags)

    page = looker.open(f"{served.view}/")
    expect(page.locator("#searches")).to_contain_text(HOSTILE)
    page = looker.search(served, parent, "#tab=table&show=all&compare=1,2&pick=30")
    expect(page.locator("#title")).to_contain_text(HOSTILE)
    expect(page.locator("#title")).to_contain_text("<script>")
    expect(page.locator("#detail")).to_contain_text(HOSTILE)
    expect(page.locator("#table")).to_contain_text("<b onclick=")
    for tab in ("recipes", "time", "table"):
        page.click(f"#tab-{tab}")
        page.wait_for_timeout(150)
    for number in [member.id for member in front.members][:3]:
        page.click(f"[data-candidate='{number}'] th button")
    page.locator("#plot").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#tip")).to_contain_text("onclick")
    assert page.evaluate("window.hacked") is None
    assert page.locator("img[src=x], main script, main b[onclick]").count() == 0
