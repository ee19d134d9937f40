"""The heat map of a sensitivity table."""

from __future__ import annotations

import re

from matplotlib.image import imread

from autoshrink.core import LayerSensitivity, Option, Sensitivity
from autoshrink.tracking.heat_map import plot_sensitivity

TABLE = Sensitivity(
    workload="k",
    base_loss=0.2,
    examples=64,
    seconds=1.0,
    layers=(
        LayerSensitivity(
            name="stem.0", type="Conv2d", weights=252, macs=5e4,
            options=(
                Option(kind="channel_pruning", value=0.5, loss=0.125),
                Option(kind="quantization", value=4, granularity="per_block", loss=0.0),
            ),
        ),
        LayerSensitivity(name="head", type="Linear", weights=99, macs=99),
    ),
)  # fmt: skip


def test_a_picture_and_a_page_are_written(tmp_path):
    png, html = tmp_path / "table.png", tmp_path / "table.html"
    plot_sensitivity(TABLE, "model & <co>", png, html)
    height, width, _ = imread(png).shape
    assert width > 600
    assert height > 200
    text = html.read_text(encoding="utf-8")
    assert "<title>model &amp; &lt;co&gt;</title>" in text
    for words in ("stem.0", "prune 50%", "int4 blocks", "0.125"):
        assert words in text
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", text), "nothing is loaded from elsewhere"


def test_only_what_is_asked_for_is_written(tmp_path):
    plot_sensitivity(TABLE, "model", png=tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
