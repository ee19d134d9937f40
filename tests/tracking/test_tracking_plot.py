import re

import pytest
from matplotlib.image import imread

from autoshrink.core import Limits, Measurement, Metric, judge
from autoshrink.tracking.plot import plot_front
from autoshrink.tracking.scene import scene_of


def front_of(searched, objectives=None, costs=None, floor=0.9):
    costs = searched.target.budget.limits if costs is None else costs
    baseline = {name: metric.value for name, metric in searched.candidates[0].metrics.items()}
    limits = Limits(floor=floor, costs=costs, baseline=baseline)
    return judge(searched.candidates, objectives or searched.target.metrics, limits)


def scene(searched, **changes):
    return scene_of(front_of(searched, **changes), searched.candidates[0], "digits on This machine")


def test_a_picture_and_a_page_are_written(searched, tmp_path):
    png, html = tmp_path / "front.png", tmp_path / "front.html"
    plot_front(front_of(searched), searched.candidates[0], "digits & <co>", png, html)
    height, width, _ = imread(png).shape
    assert width > 1000
    assert height > 500
    text = html.read_text(encoding="utf-8")
    assert "<title>digits &amp; &lt;co&gt;</title>" in text
    assert "low_rank(rank_ratio=0.0625)" in text
    assert len(text) > 1_000_000, "plotly comes inside the page"
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", text), "nothing is loaded from elsewhere"


@pytest.mark.parametrize(("png", "html"), [(True, False), (False, True)])
def test_only_what_is_asked_for_is_written(searched, tmp_path, png, html):
    files = tmp_path / "a.png" if png else None, tmp_path / "a.html" if html else None
    plot_front(front_of(searched), searched.candidates[0], "digits", *files)
    assert sorted(path.suffix for path in tmp_path.glob("a.*")) == [".png"] * png + [".html"] * html


def test_there_is_a_panel_for_each_cost_in_units_for_people(searched):
    shown = scene(searched)
    assert [(panel.cost, panel.unit) for panel in shown.panels] == [("latency", "µs"), ("size", "kB")]
    assert [panel.limit for panel in shown.panels] == pytest.approx([40, 100])
    assert [panel.limit_text for panel in shown.panels] == ["limit 40.0 µs", "limit 100 kB"]
    assert shown.accuracy_label == "accuracy, %"
    assert shown.floor_text == "floor 90.0 %"
    assert shown.floor == pytest.approx(90)


def test_the_knee_is_compared_with_the_original_in_one_sentence(searched):
    knee = front_of(searched).knee()
    assert scene(searched).subtitle == (
        f"2 of 5 candidates are on the front. Its knee, candidate {knee.id}: 10.0× faster (10.0 µs), "
        "size unchanged (353 B), at 93.0 % accuracy (−6.0 points)."
    )


def test_marks_know_their_standing_band_and_origin(searched):
    latency, _, energy = scene(searched, objectives=("accuracy", "latency", "size", "energy")).panels
    assert {mark.id: mark.group for mark in latency.marks} == {
        0: "original",
        1: "front",
        2: "front",
        3: "dominated",
    }
    (one,) = (mark for mark in latency.marks if mark.id == 1)
    assert (one.x, one.low, one.high, one.y) == pytest.approx((20, 18, 22, 95))
    assert not one.modelled
    assert all(mark.modelled for mark in energy.marks)
    assert sum(mark.knee for mark in latency.marks) == 1
    assert "low_rank(rank_ratio=0.0625)" in one.text
    assert "energy: 120 µJ (60.0 µJ to 180 µJ), modelled" in one.text


def test_hollow_marks_are_explained_where_there_are_any(searched):
    assert "Hollow: modelled" in scene(searched, objectives=("accuracy", "energy"), costs={}).footnote
    assert "Hollow" not in scene(searched).footnote
    assert "2 candidates were refused or failed" in scene(searched).footnote


def test_an_absurd_candidate_does_not_squash_the_rest(searched):
    before = scene(searched)
    searched.add(latency=3.0, accuracy=0.05)
    after = scene(searched)
    assert after.panels[0].range == before.panels[0].range
    assert after.range == before.range
    absurd = next(mark for mark in after.panels[0].marks if mark.id == 6)
    right, bottom = after.panels[0].range[1], after.range[0]
    assert after.shown(after.panels[0], absurd) == (right, bottom)
    near = after.panels[0].group("front")[0]
    assert after.shown(after.panels[0], near) == (near.x, near.y)


def test_a_wide_range_is_logarithmic_with_ticks_inside(searched):
    searched.add(latency=0.5e-6, accuracy=0.91)
    wide = scene(searched).panels[0]
    assert wide.log
    assert wide.ticks == [0.5, 1, 2, 5, 10, 20, 50, 100]
    assert not scene(searched, costs={}, objectives=("accuracy", "size")).panels[0].log


def test_the_line_joins_what_is_best_in_its_panel(searched):
    searched.add(latency=15e-6, accuracy=0.925)
    panel = scene(searched, objectives=("accuracy", "latency", "size")).panels[0]
    assert [mark.id for mark in panel.best_line] == [2, 1]


@pytest.mark.parametrize(
    "changes",
    [{"costs": {"latency": 1e-9}}, {"objectives": ("accuracy",), "costs": {}}, {"floor": 0.0}, {"floor": 0.999}],
    ids=["impossible budget", "accuracy alone", "no floor", "high floor"],
)
def test_odd_searches_are_drawn_too(searched, tmp_path, changes):
    front = front_of(searched, **changes)
    plot_front(front, searched.candidates[0], "odd", tmp_path / "a.png", tmp_path / "a.html")
    assert (tmp_path / "a.png").stat().st_size > 10_000
    if not front.members:
        assert scene(searched, **changes).subtitle == "none of 5 candidates meets the limits"


def test_a_search_of_the_original_alone_is_drawn(searched, tmp_path):
    del searched.candidates[1:]
    plot_front(front_of(searched), searched.candidates[0], "alone", tmp_path / "a.png", tmp_path / "a.html")
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_an_accuracy_that_is_no_fraction_keeps_its_scale(searched):
    worse = [
        c.model_copy(update={"accuracy": c.accuracy.model_copy(update={"validation": -0.3})})
        for c in searched.candidates
    ]
    searched.candidates[:] = worse
    shown = scene(searched, floor=-0.5)
    assert shown.accuracy_label == "accuracy"
    assert shown.floor_text == "floor -0.5"


def test_a_cost_that_some_candidates_lack_is_drawn_for_the_others(searched):
    only = searched.candidates[1].metrics["size"]
    bare = Measurement(metrics={"size": only, "energy": Metric.exact(1e-6, "J", "modelled")})
    searched.candidates[2] = searched.candidates[2].model_copy(update={"measurement": bare})
    latency = scene(searched).panels[0]
    assert 2 not in {mark.id for mark in latency.marks}
