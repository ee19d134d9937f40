"""The front as a page to explore, by plotly; the page is complete in itself."""

from __future__ import annotations

import html
import math
from pathlib import Path
from typing import Any

from autoshrink.tracking.scene import Group, Mark, Panel, Scene

__all__ = ["write_page"]

_BLUE, _GREY, _RED, _ORANGE = "#1764c0", "#8a8f98", "#c0392b", "#e08a00"
_LOOKS: dict[Group, tuple[str, str, str, int, float]] = {
    "front": ("front", _BLUE, "circle", 11, 1.0),
    "original": ("original model", _ORANGE, "star", 16, 1.0),
    "dominated": ("dominated", _GREY, "circle", 7, 0.55),
    "over_budget": ("breaks a limit", _RED, "x-thin", 7, 0.55),
}


def write_page(scene: Scene, file: Path) -> None:
    """Write a scene as one HTML file without any reference to elsewhere."""
    from plotly.io import to_html
    from plotly.subplots import make_subplots

    count = max(len(scene.panels), 1)
    figure = make_subplots(rows=1, cols=count, shared_yaxes=True, horizontal_spacing=0.03)
    seen = set[str]()
    for column, panel in enumerate(scene.panels, start=1):
        _draw_limits(figure, scene, panel, column)
        line = panel.best_line
        if len(line) > 1:
            path = {"x": [mark.x for mark in line], "y": [mark.y for mark in line]}
            figure.add_scatter(
                **path, mode="lines", line={"color": _BLUE, "width": 1.5, "shape": "hv"}, opacity=0.7, hoverinfo="skip",
                showlegend=False, row=1, col=column,
            )  # fmt: skip
        for group, looks in _LOOKS.items():
            marks = panel.group(group)
            if marks:
                _draw_group(figure, scene, panel, marks, looks, column, legend=group not in seen)
                seen.add(group)
        figure.update_xaxes(
            title_text=f"{panel.cost}, {panel.unit}", type="log" if panel.log else "linear",
            range=[math.log10(edge) for edge in panel.range] if panel.log else list(panel.range),
            tickvals=panel.ticks if panel.log else None,
            ticktext=[f"{tick:g}" for tick in panel.ticks] if panel.log else None, row=1, col=column,
        )  # fmt: skip
    figure.update_yaxes(range=list(scene.range))
    figure.update_yaxes(title_text=scene.accuracy_label, col=1)
    figure.update_layout(
        template="plotly_white",
        title={"text": f"<b>{html.escape(scene.title)}</b><br><sub>{html.escape(scene.subtitle)}</sub>", "x": 0.01},
        legend={"orientation": "h", "x": 0, "y": 0.06, "yanchor": "bottom", "yref": "container"},
        margin={"t": 90, "b": 120, "l": 70, "r": 30},
        hoverlabel={"align": "left"},
        annotations=[
            *figure.layout.annotations,
            {
                "text": html.escape(scene.footnote), "xref": "paper", "yref": "paper", "x": 0, "y": 0, "yshift": -90,
                "xanchor": "left", "yanchor": "top", "showarrow": False, "font": {"size": 11, "color": _GREY},
            },
        ],
    )  # fmt: skip
    config = {"displaylogo": False, "responsive": True}
    page = to_html(figure, include_plotlyjs=True, full_html=True, default_height="96vh", config=config)
    file.write_text(page.replace("<head>", f"<head><title>{html.escape(scene.title)}</title>", 1), encoding="utf-8")


def _draw_group(
    figure: Any,
    scene: Scene,
    panel: Panel,
    marks: list[Mark],
    looks: tuple[str, str, str, int, float],
    column: int,
    legend: bool,
) -> None:
    name, color, symbol, size, opacity = looks
    places = [scene.shown(panel, mark) for mark in marks]
    solid = name in ("front", "original model")
    figure.add_scatter(
        x=[x for x, _ in places],
        y=[y for _, y in places],
        mode="markers+text" if name == "front" else "markers",
        text=[f"<b>{mark.id} knee</b>" if mark.knee else str(mark.id) for mark in marks] if name == "front" else None,
        textposition="bottom right",
        textfont={"color": _BLUE, "size": 11},
        name=name,
        legendgroup=name,
        showlegend=legend,
        opacity=opacity,
        hovertext=["<br>".join(html.escape(line) for line in mark.text) for mark in marks],
        hoverinfo="text",
        marker={
            "symbol": [_symbol(mark, place, symbol) for mark, place in zip(marks, places, strict=True)],
            "size": size,
            "color": color,
            "line": {"width": 2 if symbol == "x-thin" else 1.5, "color": color},
        },
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [mark.high - mark.x for mark in marks],
            "arrayminus": [mark.x - mark.low for mark in marks],
            "thickness": 1.3,
            "width": 0,
            "color": color,
            "visible": solid,
        },
        cliponaxis=False,
        row=1,
        col=column,
    )


def _symbol(mark: Mark, place: tuple[float, float], symbol: str) -> str:
    x, y = place
    if (x, y) != (mark.x, mark.y):
        symbol = "triangle-" + ("right" if mark.x > x else "left" if mark.x < x else "down" if mark.y < y else "up")
    return f"{symbol}-open" if mark.modelled and symbol != "x-thin" else symbol


def _draw_limits(figure: Any, scene: Scene, panel: Panel, column: int) -> None:
    (left, right), (bottom, top) = panel.range, scene.range
    place = {"row": 1, "col": column, "layer": "below"}
    forbidden = {"type": "rect", "fillcolor": _RED, "opacity": 0.08, "line_width": 0, **place}
    line = {"type": "line", "line": {"color": _RED, "width": 1.3, "dash": "dash"}, **place}
    words = {"font": {"color": _RED, "size": 11}, "showarrow": False, "row": 1, "col": column}
    stop = right
    if panel.limit is not None and panel.limit < right:
        stop = max(panel.limit, left)
        figure.add_shape(x0=stop, x1=right, y0=bottom, y1=top, **forbidden)
        figure.add_shape(x0=stop, x1=stop, y0=bottom, y1=top, **line)
        figure.add_annotation(
            x=math.log10(stop) if panel.log else stop, y=bottom, text=panel.limit_text, textangle=-90,
            xanchor="left", yanchor="bottom", **words,
        )  # fmt: skip
    if scene.floor > bottom:
        figure.add_shape(x0=left, x1=stop, y0=bottom, y1=scene.floor, **forbidden)
        figure.add_shape(x0=left, x1=right, y0=scene.floor, y1=scene.floor, **line)
        end = math.log10(right) if panel.log else right
        figure.add_annotation(x=end, y=scene.floor, text=scene.floor_text, xanchor="right", yanchor="top", **words)
