"""What every benchmark does with its figures: a table for people, JSON for machines, a picture."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autoshrink.devices.local import Local

__all__ = ["RESULTS", "machine", "picture", "print_table", "write_json"]

RESULTS = Path(__file__).resolve().parent / "results"
"""Where the figures and pictures of the last runs lie; not in version control."""
PACKAGES = (
    "autoshrink", "torch", "numpy", "onnx", "onnxruntime", "optuna", "ray", "ai-edge-litert", "executorch", "openvino",
    "mlflow", "plotly",
)  # fmt: skip
"""Whose versions matter for any figure."""


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *, note: str = "") -> None:
    """Print a table: the first column are names, the others figures that the caller has written out with units."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(table)
    if note:
        console.print(note, highlight=False, markup=False)
    console.print()


def write_json(name: str, figures: Mapping[str, Any], folder: Path = RESULTS) -> Path:
    """Write ``NAME.json``: the machine, the command, the date (UTC), and the figures in base units.

    Returns:
        The file.
    """
    document = {
        "benchmark": name,
        "command": shlex.join(["python", os.path.relpath(sys.argv[0]), *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        **figures,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    return path


def machine() -> dict[str, Any]:
    """Describe this machine: processor, cores, memory, system, the load now, and the versions that matter."""
    installed = {item.metadata["Name"].lower(): item.version for item in importlib.metadata.distributions()}
    versions = {name: installed[name] for name in PACKAGES if name in installed}
    return {**Local().fingerprint(), "load_average": list(os.getloadavg()), "versions": versions}


@contextmanager
def picture(name: str, title: str, panels: int = 1, folder: Path = RESULTS) -> Iterator[Sequence[Axes]]:
    """Give the panels of a picture, side by side, and write ``NAME.png`` when they are drawn."""
    figure = Figure(figsize=(1.5 + 5 * panels, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, panels, squeeze=False)[0]
    figure.suptitle(title)
    yield list(axes)
    for panel in axes:
        for axis in (panel.xaxis, panel.yaxis):
            if axis.get_scale() == "log":
                axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axis.set_major_formatter("{x:g}")
                axis.set_minor_formatter(NullFormatter())
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{name}.png", dpi=150)
