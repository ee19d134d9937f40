"""The pages, driven in a browser against a real search."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from typing import Any

import numpy as np
import onnxruntime
import pytest
from playwright.sync_api import Page, expect
from ui_looking import Looker, Searched, Served, shown_front


def test_the_list_names_the_search_and_filters(served: Served, searched: Searched, looker: Looker) -> None:
    page = looker.open(f"{served.view}/")
    row = page.locator("tr[data-search=one]")
    expect(row).to_be_visible()
    text = row.inner_text()
    for word in ("digits", "model.py:build", "onnxruntime", "finished", f"{len(searched.front)}", "6 of 6", "accuracy"):
        assert word in text
    looker.shoot("list-light")
    page.fill("#filter", "no such thing")
    expect(page.locator("#searches")).to_contain_text("No search matches")
    page.fill("#filter", "digits onnx")
    expect(row).to_be_visible()
    page.select_option("#state", "running")
    expect(row).to_have_count(0)
    assert "state=running" in page.url
    page.reload()
    expect(page.locator("#state")).to_have_value("running")
    page.select_option("#state", "")
    row.locator("a").first.click()
    expect(page.locator("#title")).to_contain_text("digits on")


def test_the_front_is_the_command_line_s(served: Served, searched: Searched, looker: Looker) -> None:
    page = looker.search(served, searched.parent)
    assert shown_front(page) == searched.front
    expect(page.locator("#summary")).to_contain_text(f"{len(searched.front)} of 6 candidates are on the front")
    looker.shoot("search-light")
    page.select_option("#show", "all")
    rows = "rows => rows.map(r => [Number(r.dataset.candidate), r.querySelector('.state').classList[1]])"
    states = dict(page.eval_on_selector_all("[data-candidate]", rows))
    assert states == {item["id"]: item["state"] for item in searched.document["candidates"]}
    page.click("#tab-time")
    expect(page.locator("#time .note")).to_contain_text(f"{searched.document['hypervolume']:.4f} after 6 candidates")


def test_a_tighter_budget_leaves_a_smaller_front_and_stays_in_the_address(
    served: Served, searched: Searched, looker: Looker
) -> None:
    page = looker.search(served, searched.parent)
    sizes = {number: searched.candidate(number)["metrics"]["size"]["high"] for number in searched.front}
    limit = (min(sizes.values()) + max(sizes.values())) / 2
    assert len(sizes) > 1, "the front has one member: nothing can be tightened"
    slider = page.locator("#limit-size")
    slider.focus()
    chosen = float("inf")
    for _ in range(600):  # as a person with a keyboard does: in large steps, and in small ones where it matters
        page.keyboard.press("PageDown" if chosen > 1.5 * max(sizes.values()) else "ArrowLeft")
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
        if found := re.search(r"limit\.size=([\d.e+]+)", page.evaluate("location.hash")):
            chosen = float(found[1])
        if chosen <= limit:
            break
    page.wait_for_timeout(300)
    left = shown_front(page)
    assert 0 < len(left) < len(sizes)
    assert set(left) >= {number for number, size in sizes.items() if size <= chosen * 0.999}
    assert all(searched.candidate(number)["metrics"]["size"]["high"] <= chosen * 1.001 for number in left)
    expect(page.locator("#summary")).to_contain_text("narrower limits")
    page.reload()
    expect(page.locator("#summary")).to_contain_text("narrower limits")
    assert shown_front(page) == left
    page.click("#reset")
    expect(page.locator("[data-candidate]")).to_have_count(len(sizes))


def place_of(page: Page, item: dict[str, Any]) -> tuple[float, float]:
    """Where a candidate is on the screen, by plotly's own axes."""
    box = page.locator("#plot").bounding_box()
    left, top = page.evaluate(
        """([latency, accuracy]) => {
          const full = document.getElementById('graph')._fullLayout;
          const unit = { s: 1, ms: 1e-3, µs: 1e-6, ns: 1e-9 }[full.xaxis.title.text.split(', ')[1]];
          return [full._size.l + full.xaxis.d2p(latency / unit), full._size.t + full.yaxis.d2p(accuracy * 100)];
        }""",
        [item["metrics"]["latency"]["value"], item["accuracy"]["test"]],
    )
    return box["x"] + left, box["y"] + top


def test_pointing_tells_recipe_and_figures_and_a_click_shows_the_candidate(
    served: Served, searched: Searched, looker: Looker
) -> None:
    page = looker.search(served, searched.parent)
    number = searched.front[-1]
    item = searched.candidate(number)
    place = place_of(page, item)
    page.mouse.move(*place)
    tip = page.locator("#tip")
    expect(tip).to_be_visible()
    told = tip.inner_text()
    shown = re.search(r"candidate (\d+)|the original model", told)
    assert shown is not None
    same = [n for n in searched.front if place_of(page, searched.candidate(n)) == place]
    assert shown[1] is None or int(shown[1]) in {number, *same}
    for word in ("latency:", "size:", "accuracy:", "%"):
        assert word in told
    for step in item["recipe"]["steps"]:
        assert step["kind"] in told
    page.mouse.click(*place)
    expect(page.locator("#detail h2")).to_contain_text(shown[0].capitalize())
    page.mouse.move(5, 5)
    expect(tip).to_be_hidden()


def test_the_keyboard_walks_along_the_front(served: Served, searched: Searched, looker: Looker) -> None:
    page = looker.search(served, searched.parent)
    page.locator("#plot").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#tip")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.locator("#detail h2")).to_contain_text("on the front")
    assert "pick=" in page.url
    page.keyboard.press("Escape")
    expect(page.locator("#tip")).to_be_hidden()
    page.locator("#tab-table").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#recipes")).to_be_visible()
    drawn = "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((x) => x)"
    assert page.locator("#recipes canvas").evaluate(drawn)


def test_two_candidates_side_by_side_in_light_and_dark(served: Served, searched: Searched, looker: Looker) -> None:
    page = looker.search(served, searched.parent)
    one, other = searched.front[0], searched.front[-1]
    for number in (one, other):
        page.check(f"[data-candidate='{number}'] input")
    page.wait_for_selector("#compare-layers")
    assert f"compare={one},{other}" in page.url.replace("%2C", ",")
    figures = page.locator("#compare-figures").inner_text()
    for word in ("accuracy", "latency", "size", "memory"):
        assert word in figures
    recipes = page.locator("#compare-recipes").inner_text()
    assert "quantization · weight_bits" in recipes
    rows = page.locator("#compare-layers tbody tr").count()
    assert rows == 3, "the network has three linear layers"
    layers = page.locator("#compare-layers").inner_text()
    formats = {"int8": "int8", "float": "float"}
    for number in (one, other):
        steps = {step["kind"]: step for step in searched.candidate(number)["recipe"]["steps"]}
        bits = steps.get("quantization", {}).get("weight_bits", 32)
        assert formats["int8" if bits == 8 else "float"] in layers
    looker.shoot("compare-light", whole=True)
    page.click("#theme")
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    looker.shoot("compare-dark", whole=True)
    page.locator("#compare h2 button").click()
    expect(page.locator("#compare")).to_be_hidden()
    looker.shoot("search-dark")
    looker.open(f"{served.view}/")
    expect(page.locator("tr[data-search=one]")).to_be_visible()
    looker.shoot("list-dark")


def test_groups_and_axes_are_kept_in_the_address(served: Served, searched: Searched, looker: Looker) -> None:
    page = looker.search(served, searched.parent, "#x=size&y=latency&z=memory&as=size")
    expect(page.locator("#x")).to_have_value("size")
    assert page.evaluate("document.getElementById('graph')._fullLayout.yaxis.title.text").startswith("latency")
    expect(page.locator(".legend .scale")).to_be_visible()
    buttons = page.locator("#groups button")
    if buttons.count():
        name = buttons.first.get_attribute("data-group")
        buttons.first.click()
        expect(page.locator(f"[data-group={name}]")).to_have_attribute("aria-pressed", "false")
        assert f"hide={name}" in page.url


@pytest.fixture(scope="module")
def registry(served: Served):
    import mlflow

    return mlflow.MlflowClient(served.store)


def test_the_page_s_button_and_the_command_leave_the_same_entry(
    served: Served, searched: Searched, looker: Looker, registry, monkeypatch
) -> None:
    import mlflow

    page = looker.search(served, searched.parent)
    page.click("[data-suggestion=knee]")
    page.fill("#pick-model", "by-page")
    page.fill("#pick-alias", "production")
    page.click("#pick")
    expect(page.locator("#line")).to_have_text('mlflow.onnx.load_model("models:/by-page@production")')
    looker.shoot("picked-light")
    number = int(re.search(r"pick=(\d+)", page.url)[1])

    command = [sys.executable, "-m", "autoshrink", "pick", "one", "--prefer", "knee", "--register", "by-command"]
    done = subprocess.run(
        [*command, "--alias", "production", "--to", "out/"], cwd=searched.folder, capture_output=True, text=True,
        env={**os.environ, "MLFLOW_TRACKING_URI": served.store},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert 'mlflow.onnx.load_model("models:/by-command@production")' in done.stdout
    assert json.loads((searched.folder / "out" / "figures.json").read_text())["id"] == number

    by_page = registry.get_model_version_by_alias("by-page", "production")
    by_command = registry.get_model_version_by_alias("by-command", "production")
    assert by_page.tags == by_command.tags
    assert by_page.description == by_command.description
    for field in ("source", "run_id", "version", "model_id"):
        assert getattr(by_page, field) == getattr(by_command, field)
    item = searched.candidate(number)
    assert by_page.tags["autoshrink.target"] == "digits"
    assert by_page.tags["autoshrink.fingerprint"] == searched.document["hardware"]["key"]
    assert "latency ≤ 5.00 ms" in by_page.tags["autoshrink.budget"]
    figures = json.loads(by_page.tags["autoshrink.figures"])
    assert figures["latency"] == item["metrics"]["latency"]
    assert figures["accuracy.test"]["value"] == item["accuracy"]["test"]
    assert "measured" in by_page.tags["latency"]
    assert "| figure | value | origin | original model |" in by_page.description

    monkeypatch.setenv("MLFLOW_TRACKING_URI", served.store)
    model = mlflow.onnx.load_model("models:/by-page@production")
    session = onnxruntime.InferenceSession(model.SerializeToString())
    from sklearn.datasets import load_digits

    digits = load_digits()
    images, labels = (digits.images[1300:] / 16).astype("float32"), digits.target[1300:]
    [scores] = session.run(None, {session.get_inputs()[0].name: images})[:1]
    assert np.mean(scores.argmax(1) == labels) == pytest.approx(item["accuracy"]["test"], abs=5e-4)

    with page.expect_download() as waiting:
        page.click("text=Download")
    with zipfile.ZipFile(waiting.value.path()) as archive:
        names = archive.namelist()
        assert "MLmodel" in names
        assert archive.read("model.onnx") == (searched.folder / item["artifact"]["files"][0]).read_bytes()


def test_a_wrong_name_is_said_on_the_page(served: Served, searched: Searched, looker: Looker, registry) -> None:
    page = looker.search(served, searched.parent, f"#pick={searched.front[0]}")
    page.fill("#pick-model", "a/b")
    page.click("#pick")
    expect(page.locator(".answer .reason")).to_contain_text("a/b")
    assert not [model for model in registry.search_registered_models() if "a/b" in model.name]


def test_what_is_not_on_the_front_says_where_it_is_picked(served: Served, searched: Searched, looker: Looker) -> None:
    others = [item["id"] for item in searched.document["candidates"] if item["state"] != "front"]
    page = looker.search(served, searched.parent, f"#pick={others[-1]}")
    told = re.compile(r"autoshrink pick one \d+ --register MODEL|no files to pick")
    expect(page.locator("#detail")).to_contain_text(told)
    assert page.locator("#pick").count() == 0


def test_mlflow_s_own_page_leads_to_the_view_and_back(served: Served, searched: Searched, looker: Looker) -> None:
    page = looker.search(served, searched.parent)
    page.click("#run")
    link = page.locator(f"a[href$='/autoshrink/searches/{searched.parent}']")
    expect(link.first).to_be_visible(timeout=60_000)
    assert searched.parent in page.url
    link.first.evaluate("a => { a.target = '_self'; }")
    link.first.click()
    expect(page.locator("#title")).to_contain_text("digits on", timeout=30_000)
    looker.errors.clear()  # MLflow's own page is not ours to judge
