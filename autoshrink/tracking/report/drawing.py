"""The front as SVG elements of a page: its style sheet colors them, and pointing at a mark tells its figures."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from autoshrink.tracking.scene import Mark, Panel, Scene

__all__ = ["draw_panels"]

_WIDTH, _HEIGHT = 440.0, 360.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 58.0, 14.0, 14.0, 46.0
_TICKS = 5
_NEAR = 15.0
"""Labels that are nearer than this would be drawn over each other."""
_DESCRIBED = 300
"""With more faint marks than this none of them tells its figures: a page is sent by mail."""


@dataclass(frozen=True)
class _Axes:
    """From a panel's figures to places in its drawing."""

    scene: Scene
    panel: Panel

    def x(self, value: float) -> float:
        low, high = self.panel.range
        share = math.log(value / low) / math.log(high / low) if self.panel.log else (value - low) / (high - low)
        return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(self, value: float) -> float:
        low, high = self.scene.range
        return round(_HEIGHT - _BOTTOM - (value - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM), 1)

    def place(self, mark: Mark) -> tuple[float, float]:
        x, y = self.scene.shown(self.panel, mark)
        return self.x(x), self.y(y)


def draw_panels(scene: Scene) -> tuple[str, ...]:
    """Draw each panel of a scene: accuracy against one cost."""
    return tuple("".join(_panel(_Axes(scene, panel))) for panel in scene.panels)


def _panel(axes: _Axes) -> Iterator[str]:
    panel = axes.panel
    yield f'<svg viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" xmlns="http://www.w3.org/2000/svg">'
    yield from _grid(axes)
    yield from _forbidden(axes)
    yield from _faint(axes)
    line = [axes.place(mark) for mark in panel.best_line]
    if len(line) > 1:
        steps = "".join(f"H{x:g}V{y:g}" for x, y in line[1:])
        yield f'<path class="line" d="M{line[0][0]:g} {line[0][1]:g}{steps}"/>'
    for mark in panel.group("original"):
        yield _solid(axes, mark, "original", _star)
    members = panel.group("front")
    for mark in members:
        yield _solid(axes, mark, "front", _dot)
    yield from _labels(axes, members)
    yield "</svg>"


def _grid(axes: _Axes) -> Iterator[str]:
    panel, scene = axes.panel, axes.scene
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    for tick in panel.ticks if panel.log else _steps(*panel.range):
        x = axes.x(tick)
        yield f'<path class="grid" d="M{x:g} {_TOP:g}V{bottom:g}"/>'
        yield f'<text class="tick" x="{x:g}" y="{bottom + 17:g}" text-anchor="middle">{tick:g}</text>'
    for tick in _steps(*scene.range):
        y = axes.y(tick)
        yield f'<path class="grid" d="M{_LEFT:g} {y:g}H{right:g}"/>'
        yield f'<text class="tick" x="{_LEFT - 8:g}" y="{y + 4:g}" text-anchor="end">{tick:g}</text>'
    middle = (_LEFT + right) / 2
    words = html.escape(f"{panel.cost}, {panel.unit}")
    yield f'<text class="axis" x="{middle:g}" y="{_HEIGHT - 8:g}" text-anchor="middle">{words}</text>'
    place = f'transform="translate(13 {(_TOP + bottom) / 2:g}) rotate(-90)"'
    yield f'<text class="axis" {place} text-anchor="middle">{html.escape(scene.accuracy_label)}</text>'
    yield f'<text class="tick" x="{_LEFT + 6:g}" y="{_TOP + 14:g}">↖ better</text>'


def _forbidden(axes: _Axes) -> Iterator[str]:
    panel, scene = axes.panel, axes.scene
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    stop = right
    if panel.limit is not None and panel.limit < panel.range[1]:
        stop = axes.x(max(panel.limit, panel.range[0]))
        yield f'<rect class="forbidden" x="{stop:g}" y="{_TOP:g}" width="{right - stop:g}" height="{bottom - _TOP:g}"/>'
        yield f'<path class="limit" d="M{stop:g} {_TOP:g}V{bottom:g}"/>'
        turned = f'transform="translate({stop + 12:g} {_TOP + 6:g}) rotate(-90)" text-anchor="end"'
        yield f'<text class="limit-text" {turned}>{html.escape(panel.limit_text)}</text>'
    if scene.floor > scene.range[0]:
        y = axes.y(min(scene.floor, scene.range[1]))
        yield (
            f'<rect class="forbidden" x="{_LEFT:g}" y="{y:g}" width="{stop - _LEFT:g}" height="{bottom - y:g}"/>'
            f'<path class="limit" d="M{_LEFT:g} {y:g}H{right:g}"/>'
        )
        yield f'<text class="limit-text" x="{right - 4:g}" y="{y + 13:g}" text-anchor="end">{scene.floor_text}</text>'


def _faint(axes: _Axes) -> Iterator[str]:
    marks = [(mark, name) for name in ("dominated", "over_budget") for mark in axes.panel.marks if mark.group == name]
    told = len(marks) <= _DESCRIBED
    drawn = set[tuple[str, float, float]]()
    for mark, name in marks:
        x, y = axes.place(mark)
        if not told and (name, round(x), round(y)) in drawn:
            continue
        drawn.add((name, round(x), round(y)))
        words = _words(mark) if told else ""
        if name == "over_budget":
            yield f'<path class="cross" d="M{x - 3:g} {y - 3:g}l6 6m0 -6l-6 6">{words}</path>'
        else:
            hollow = " hollow" if mark.modelled else ""
            yield f'<circle class="dominated{hollow}" cx="{x:g}" cy="{y:g}" r="3.2">{words}</circle>'


def _solid(axes: _Axes, mark: Mark, name: str, shape: Callable[[float, float], str]) -> str:
    x, y = axes.place(mark)
    bars = ""
    shown = axes.scene.shown(axes.panel, mark)
    if shown != (mark.x, mark.y):
        turn = 90 if mark.x > shown[0] else -90 if mark.x < shown[0] else 180 if mark.y < shown[1] else 0
        outline = f'<path transform="translate({x:g} {y:g}) rotate({turn})" d="M0 -6L5.5 4.5H-5.5Z"/>'
    else:
        low, high = axes.panel.range
        ends = [axes.x(min(max(value, low), high)) for value in (mark.low, mark.high)]
        bars = f'<path class="bar" d="M{ends[0]:g} {y:g}H{ends[1]:g}"/>' if ends[1] > ends[0] else ""
        outline = shape(x, y)
    ring = f'<circle class="ring" cx="{x:g}" cy="{y:g}" r="9"/>' if mark.knee else ""
    return f'<g class="{name}{" hollow" if mark.modelled else ""}">{_words(mark)}{bars}{outline}{ring}</g>'


def _dot(x: float, y: float) -> str:
    return f'<circle cx="{x:g}" cy="{y:g}" r="5"/>'


def _star(x: float, y: float) -> str:
    corners = []
    for index in range(10):
        radius, angle = (9.0, 3.8)[index % 2], math.pi * index / 5
        corners.append(f"{x + radius * math.sin(angle):.1f} {y - radius * math.cos(angle):.1f}")
    return f'<path d="M{"L".join(corners)}Z"/>'


def _labels(axes: _Axes, members: list[Mark]) -> Iterator[str]:
    taken: list[tuple[float, float]] = []
    for mark in sorted(members, key=lambda mark: not mark.knee):
        x, y = axes.place(mark)
        for place in ((x + 9, y + 15), (x + 9, y - 8), (x - 20, y - 8), (x - 20, y + 15)):
            if all(math.dist(place, other) >= _NEAR for other in taken):
                taken.append(place)
                words = f"{mark.id} knee" if mark.knee else str(mark.id)
                yield f'<text class="label" x="{place[0]:g}" y="{place[1]:g}">{words}</text>'
                break


def _words(mark: Mark) -> str:
    return f"<title>{html.escape(chr(10).join(mark.text))}</title>"


def _steps(low: float, high: float) -> list[float]:
    """Place the ticks of a linear axis at round numbers."""
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 10) for index in range(first, math.floor(high / step + 1e-9) + 1)]
