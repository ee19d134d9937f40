"""The front as a picture, by matplotlib."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoshrink.tracking.scene import Mark, Panel, Scene

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_picture"]

_BLUE, _GREY, _RED, _ORANGE, _INK = "#1764c0", "#8a8f98", "#c0392b", "#e08a00", "#222831"
_WIDTH, _HEIGHT = 5.6, 4.4


def draw_picture(scene: Scene, file: Path) -> None:
    """Draw a scene into a PNG file."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = 2 if len(scene.panels) == 4 else max(len(scene.panels), 1)
    rows = math.ceil(len(scene.panels) / columns)
    wide = _WIDTH * columns + 0.5
    subtitle, footnote = textwrap.wrap(scene.subtitle, int(wide * 13)), textwrap.wrap(scene.footnote, int(wide * 17))
    handles = _legend(scene)
    lines = 2 if columns == 1 else 1
    head, foot = 0.55 + 0.2 * len(subtitle), 0.3 + 0.22 * lines + 0.15 * len(footnote)
    high = _HEIGHT * rows + head + foot
    room = (0, foot / high, 1, 1 - (head + foot) / high)
    figure = Figure(figsize=(wide, high), dpi=130, layout=ConstrainedLayoutEngine(rect=room, w_pad=0.12, h_pad=0.06))
    figure.text(0.02, 1 - 0.2 / high, scene.title, va="top", fontsize=13, fontweight="bold", color=_INK)
    figure.text(0.02, 1 - 0.47 / high, "\n".join(subtitle), va="top", fontsize=10.5, color=_INK)
    for number, panel in enumerate(scene.panels):
        axes = figure.add_subplot(rows, columns, number + 1)
        _draw_panel(axes, scene, panel, first=number % columns == 0)
    figure.legend(
        handles=handles, loc="lower left", ncols=math.ceil(len(handles) / lines), frameon=False, fontsize=9,
        columnspacing=1.2, handletextpad=0.5, bbox_to_anchor=(0.01, (0.12 + 0.15 * len(footnote)) / high),
    )  # fmt: skip
    figure.text(0.02, 0.08 / high, "\n".join(footnote), fontsize=8, color=_GREY, va="bottom")
    figure.savefig(file)


def _draw_panel(axes: Axes, scene: Scene, panel: Panel, first: bool) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    (left, right), (bottom, top) = panel.range, scene.range
    if panel.log:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(panel.ticks))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set(xlim=(left, right), ylim=(bottom, top))
    axes.set_xlabel(f"{panel.cost}, {panel.unit}", color=_INK)
    if first:
        axes.set_ylabel(scene.accuracy_label, color=_INK)
    axes.grid(color="#e6e8ec", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    _draw_limits(axes, scene, panel)
    axes.annotate(
        "↖ better", (0, 1), (5, -5), xycoords="axes fraction", textcoords="offset points", va="top", fontsize=8.5,
        color=_GREY,
    )  # fmt: skip
    for mark in panel.group("dominated"):
        _draw(axes, scene, panel, mark, "o", _GREY, size=5, alpha=0.55)
    for mark in panel.group("over_budget"):
        _draw(axes, scene, panel, mark, "x", _RED, size=5, alpha=0.45)
    line = panel.best_line
    if len(line) > 1:
        xs, ys = [mark.x for mark in line], [mark.y for mark in line]
        axes.plot(xs, ys, color=_BLUE, linewidth=1.4, alpha=0.6, drawstyle="steps-post", zorder=4)
    for mark in panel.group("original"):
        _draw(axes, scene, panel, mark, "*", _ORANGE, size=15, bars=True)
    for mark in panel.group("front"):
        _draw(axes, scene, panel, mark, "o", _BLUE, size=7.5, bars=True)
        _label(axes, scene, panel, mark)


def _draw_limits(axes: Axes, scene: Scene, panel: Panel) -> None:
    (left, right), (bottom, _) = panel.range, scene.range
    forbidden: dict[str, Any] = {"facecolor": _RED, "alpha": 0.07, "linewidth": 0, "zorder": 0}
    if panel.limit is not None and panel.limit < right:
        edge = max(panel.limit, left)
        axes.axvspan(edge, right, **forbidden)
        axes.axvline(edge, color=_RED, linewidth=1.2, linestyle="--", zorder=1)
        axes.annotate(
            panel.limit_text, (edge, bottom), (4, 4), textcoords="offset points", rotation=90, ha="left", va="bottom",
            fontsize=8.5, color=_RED,
        )  # fmt: skip
    if scene.floor > bottom:
        stop = right if panel.limit is None else min(panel.limit, right)
        axes.fill_between([left, stop], bottom, scene.floor, **forbidden)
        axes.axhline(scene.floor, color=_RED, linewidth=1.2, linestyle="--", zorder=1)
        axes.annotate(
            scene.floor_text, (right, scene.floor), (-3, -3), textcoords="offset points", ha="right", va="top",
            fontsize=8.5, color=_RED,
        )  # fmt: skip


def _draw(
    axes: Axes,
    scene: Scene,
    panel: Panel,
    mark: Mark,
    shape: str,
    color: str,
    *,
    size: float,
    alpha: float = 1.0,
    bars: bool = False,
) -> None:
    x, y = scene.shown(panel, mark)
    if (x, y) != (mark.x, mark.y):
        shape = ">" if mark.x > x else "<" if mark.x < x else "v" if mark.y < y else "^"
    elif bars and mark.high > mark.low:
        axes.hlines(y, mark.low, mark.high, color=color, linewidth=1.3, alpha=0.6, zorder=3)
    face = "white" if mark.modelled and shape != "x" else color
    axes.plot(
        [x], [y], shape, color=color, markerfacecolor=face, markeredgewidth=1.4, markersize=size, alpha=alpha,
        zorder=5 if bars else 2, clip_on=False,
    )  # fmt: skip


def _label(axes: Axes, scene: Scene, panel: Panel, mark: Mark) -> None:
    x, y = scene.shown(panel, mark)
    if mark.knee:
        axes.plot([x], [y], "o", color=_BLUE, markerfacecolor="none", markersize=14, markeredgewidth=1.5, zorder=5)
    axes.annotate(
        f"{mark.id} knee" if mark.knee else str(mark.id), (x, y), (7, -11), textcoords="offset points", fontsize=8,
        color=_BLUE, fontweight="bold" if mark.knee else "normal", zorder=6,
    )  # fmt: skip


def _legend(scene: Scene) -> list[object]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    groups = {mark.group for panel in scene.panels for mark in panel.marks}
    known = {
        "front": Line2D([], [], marker="o", color=_BLUE, markersize=7, label="front, by candidate"),
        "original": Line2D([], [], marker="*", color=_ORANGE, markersize=12, linestyle="", label="original model"),
        "dominated": Line2D([], [], marker="o", color=_GREY, markersize=5, alpha=0.55, linestyle="", label="dominated"),
        "over_budget": Line2D(
            [], [], marker="x", color=_RED, markersize=5, alpha=0.55, linestyle="", label="breaks a limit"
        ),
    }
    handles: list[object] = [handle for group, handle in known.items() if group in groups]
    return [*handles, Patch(facecolor=_RED, alpha=0.12, label="forbidden by the limits")]
