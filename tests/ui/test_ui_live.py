"""A search that is under way is followed without loading the page again."""

from __future__ import annotations

import re
import time

import pytest
from playwright.sync_api import expect
from ui_looking import Looker, Served, shown_front
from ui_simulated import LIMITS, candidates, target

from autoshrink.core import judge
from autoshrink.tracking.tracker import Tracker


@pytest.mark.alone
def test_new_candidates_are_shown_within_three_seconds(served: Served, looker: Looker, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = [one for one in candidates(60, 1) if one.outcome == "measured" or one.id == 0]
    asked = target("live")
    tracker = Tracker(tmp_path, asked, "live-1", served.store)
    tracker.start({"key": "simulated"}, found[0], LIMITS)
    tracker.log(found[1])
    while len(tracker._ledger.cursor.runs) < 2 or tracker._waiting:
        time.sleep(0.05)
    page = looker.search(served, tracker._ledger.parent, "#show=all")
    expect(page.locator("#status")).to_have_text("running: 1 of 40")
    expect(page.locator("[data-candidate]")).to_have_count(2)
    page.evaluate("window.stays = true")
    delays = []
    for number, one in enumerate(found[2:7], start=3):
        begun = time.monotonic()
        tracker.log(one)
        expect(page.locator("[data-candidate]")).to_have_count(number)
        delays.append(time.monotonic() - begun)
    print("shown after", [round(delay, 2) for delay in delays], "s")
    assert sorted(delays)[2] <= 3.0, delays

    looker_two = looker.context.new_page()
    looker_two.goto(f"{served.view}/#filter=live-1")
    row = looker_two.locator("tr[data-search=live-1]")
    expect(row).to_contain_text("running")
    expect(row).to_contain_text("6 of 40")
    looker_two.close()

    # The search ends: every candidate has its standing, and the page says so.
    for one in found[7:]:
        tracker.log(one)
    tracker._inbox.put(None)
    tracker._thread.join()
    front = judge(found, asked.metrics, LIMITS)
    from autoshrink.tracking.records import record_of

    for item in front.judged:
        tracker._ledger.put(item.candidate.id, record_of(item.candidate, item.state, item.reason))
    tracker._ledger.client.set_terminated(tracker._ledger.parent, "FINISHED")
    expect(page.locator("#status")).to_have_text("finished")
    page.select_option("#show", "front")
    expect(page.locator("[data-candidate]")).to_have_count(len(front.members))
    assert shown_front(page) == [member.id for member in front.members]
    assert page.evaluate("window.stays"), "the page was loaded again"
    assert re.search(rf"{len(front.members)} of {len(found) - 1}", page.locator("#summary").inner_text())
