"""Fronts, candidates and measurements as tables for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autoshrink.core import COSTS, Candidate, Front, Metric, show_quantity
from autoshrink.core.front import accuracy_of
from autoshrink.techniques.registry import techniques_of

__all__ = ["front_table", "measurement_table", "print_front", "short_conditions", "show_metric"]


def print_front(console: Console, front: Front, *, title: str, confirmed: bool) -> None:
    """Print a front, or which limit binds when there is none."""
    if front.members:
        console.print(front_table(front, title))
        footnotes(console, front, confirmed)
        return
    console.print(f"{title}: no candidate meets the limits.", style="bold")
    for line in front.shortfall():
        console.print(f"  {line}")


def front_table(front: Front, title: str) -> Table:
    """Lay out the front, the original first."""
    baseline = front.judged[0].candidate
    costs = _costs(front)
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    table.add_column("id", justify="right")
    table.add_column("accuracy", justify="right")
    for name in costs:
        table.add_column(name, justify="right")
    table.add_column("recipe", overflow="fold")
    members = [member for member in front.members if member.id != 0]
    knee = front.knee()
    for candidate in (baseline, *members):
        on_front = candidate.id != 0 or any(member.id == 0 for member in front.members)
        mark = "*" if knee is not None and candidate.id == knee.id else ""
        recipe = "the original model" if candidate.id == 0 else short_recipe(candidate)
        if candidate.id == 0 and on_front:
            recipe += ", on the front itself"
        cells = [_cost_cell(candidate, baseline, name) for name in costs]
        style = "dim" if not on_front else None
        table.add_row(f"{candidate.id}{mark}", _accuracy(candidate), *cells, recipe, style=style)
    return table


def footnotes(console: Console, front: Front, confirmed: bool) -> None:
    """Say what the columns mean."""
    split = "the test split" if confirmed else "the validation split (not confirmed yet)"
    notes = [f"accuracy of the artifact in its runtime, on {split}", "× against the original", "* knee point"]
    if any(metric.origin == "modelled" for member in front.members for metric in member.metrics.values()):
        notes.append("~ modelled, not measured")
    console.print(f"{'; '.join(notes)}; hypervolume {front.hypervolume:.4f}", style="dim")


def measurement_table(metrics: Mapping[str, Metric], conditions: Mapping[str, Any], title: str) -> Table:
    """Lay out one measurement: value, band and origin of each metric, and its conditions."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in ("metric", "value", "band", "origin"):
        table.add_column(heading)
    for name, metric in metrics.items():
        band = f"{show_quantity(metric.low, metric.unit)} … {show_quantity(metric.high, metric.unit)}"
        exact = metric.low == metric.high
        table.add_row(name, show_quantity(metric.value, metric.unit), "exact" if exact else band, metric.origin)
    for name, value in conditions.items():
        table.add_row(name, str(value), style="dim")
    return table


def short_conditions(conditions: Mapping[str, Any]) -> dict[str, str]:
    """Pick the conditions that a person looks at first."""
    shown = {name: str(conditions[name]) for name in ("threads", "cores", "rounds") if name in conditions}
    if "p95" in conditions:
        shown["95th percentile"] = show_quantity(conditions["p95"], "s")
    if conditions.get("quiet") is False:
        shown["machine"] = "busy while measuring: the band is wider"
    for name, value in conditions.get("versions", {}).items():
        shown[name] = str(value)
    if "energy" in conditions:
        shown["energy"] = str(conditions["energy"])
    return shown


def show_metric(metric: Metric) -> str:
    """Print a figure; a modelled one is marked with ~."""
    return f"{'~' if metric.origin == 'modelled' else ''}{show_quantity(metric.value, metric.unit)}"


def short_recipe(candidate: Candidate) -> str:
    """Print what tells a recipe from others, without the settings that seldom matter."""
    return " → ".join(technique.label() for technique in techniques_of(candidate.recipe))


def _costs(front: Front) -> list[str]:
    known = front.judged[0].candidate.metrics
    return [name for name in COSTS if name in front.objectives or name in front.limits.costs or name in known]


def _accuracy(candidate: Candidate) -> str:
    score = accuracy_of(candidate)
    return "?" if score is None else f"{score:.2%}" if 0 <= score <= 1 else f"{score:.4g}"


def _cost_cell(candidate: Candidate, baseline: Candidate, name: str) -> str | Text:
    metric, before = candidate.metrics.get(name), baseline.metrics.get(name)
    if metric is None:
        return "?"
    if candidate.id == 0 or before is None or metric.value <= 0:
        return show_metric(metric)
    return Text.assemble(show_metric(metric), " ", (f"{before.value / metric.value:.1f}×", "dim"))
