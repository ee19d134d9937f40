"""A sensitivity table as a heat map: a picture by matplotlib, or a page by plotly."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from pathlib import Path

from autoshrink.core import Option, Sensitivity

__all__ = ["plot_sensitivity"]

_FAINTEST = 1e-7
_UNITS = {"kl_divergence": "divergence of the answers, nats", "squared_error": "mean squared difference of the answers"}


@dataclass(frozen=True)
class _Grid:
    """Rows are layers, columns options; None where a layer has no such option."""

    title: str
    unit: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    losses: tuple[tuple[float | None, ...], ...]

    @property
    def powers(self) -> list[list[float | None]]:
        """The losses' decimal logarithms."""
        return [[None if v is None else math.log10(max(v, _FAINTEST)) for v in row] for row in self.losses]


def plot_sensitivity(table: Sensitivity, title: str, png: Path | None = None, page: Path | None = None) -> None:
    """Draw a table: the redder a field, the more that option alone changes what the model answers.

    Args:
        table: of a model.
        title: a heading.
        png: the picture's file (matplotlib).
        page: the page's file; plotly is packed into it, nothing is loaded from elsewhere.
    """
    grid = _grid(table, title)
    if png is not None:
        _draw(grid, png)
    if page is not None:
        _write(grid, page)


def _grid(table: Sensitivity, title: str) -> _Grid:
    found = {(o.kind, o.strength, o.granularity or ""): _heading(o) for layer in table.layers for o in layer.options}
    keys = sorted(found)
    rows = []
    for layer in table.layers:
        own = {(o.kind, o.strength, o.granularity or ""): o.loss for o in layer.options}
        rows.append(tuple(own.get(key) for key in keys))
    names = tuple(layer.name for layer in table.layers)
    return _Grid(title, _UNITS[table.measure], names, tuple(found[key] for key in keys), tuple(rows))


def _heading(option: Option) -> str:
    if option.kind == "quantization":
        return f"int{option.value:.0f}{' blocks' if option.granularity == 'per_block' else ''}"
    return f"{'prune' if option.kind == 'channel_pruning' else 'rank'} {option.value:.0%}"


def _draw(grid: _Grid, file: Path) -> None:
    import numpy as np
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    wide, high = 3.2 + 0.36 * len(grid.columns), 2.0 + 0.3 * len(grid.rows)
    figure = Figure(figsize=(max(wide, 6.0), high), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    powers = np.array(grid.powers, dtype=float).reshape(len(grid.rows), len(grid.columns))
    image = axes.imshow(np.ma.masked_invalid(powers), aspect="auto", cmap="YlOrRd")
    axes.set_facecolor("#f3f4f6")
    axes.set_xticks(range(len(grid.columns)), grid.columns, rotation=90, fontsize=8)
    axes.set_yticks(range(len(grid.rows)), grid.rows, fontsize=8)
    axes.set_title(grid.title, loc="left", fontsize=11, fontweight="bold")
    scale = figure.colorbar(image, ax=axes, format=FuncFormatter(lambda power, _: f"{10**power:.0e}"))
    scale.set_label(grid.unit, fontsize=8)
    figure.savefig(file)


def _write(grid: _Grid, file: Path) -> None:
    from plotly.graph_objects import Figure, Heatmap
    from plotly.io import to_html

    texts = [["" if value is None else f"{value:.3g}" for value in row] for row in grid.losses]
    heat = Heatmap(
        z=grid.powers, x=list(grid.columns), y=list(grid.rows), text=texts, colorscale="YlOrRd",
        hovertemplate="%{y}, %{x}: %{text}<extra></extra>",
        colorbar={"title": {"text": "power of ten", "side": "right"}},
    )  # fmt: skip
    figure = Figure(heat)
    subtitle = f"{grid.unit}; the redder, the more that option alone changes what the model answers"
    figure.update_layout(
        template="plotly_white",
        title={"text": f"<b>{html.escape(grid.title)}</b><br><sub>{html.escape(subtitle)}</sub>", "x": 0.01},
        yaxis={"autorange": "reversed", "type": "category"},
        xaxis={"type": "category"},
    )
    page = to_html(figure, include_plotlyjs=True, full_html=True, default_height="96vh", config={"displaylogo": False})
    file.write_text(page.replace("<head>", f"<head><title>{html.escape(grid.title)}</title>", 1), encoding="utf-8")
