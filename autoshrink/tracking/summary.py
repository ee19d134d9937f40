"""What a search's run shows beside its candidates: the front as a table and as text, and the environment."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping
from typing import Any

from autoshrink.core import Candidate, Front, show_quantity
from autoshrink.core.front import accuracy_of, cost

__all__ = ["best_of", "environment", "front_note", "front_table", "page_note"]


def front_table(front: Front, models: Mapping[int, str]) -> dict[str, list[Any]]:
    """Write the front as a table that MLflow shows and `mlflow.load_table` reads.

    Args:
        front: all candidates, judged.
        models: the address of each member's model, by candidate id.

    Returns:
        Columns and rows; figures in base units, accuracy as a fraction.
    """
    costs = _costs(front)
    columns = ["candidate", "recipe", "accuracy.validation", "accuracy.test"]
    columns += [f"{name}{end}" for name in costs for end in ("", ".low", ".high", ".origin")]
    rows = []
    for member in front.members:
        row: list[Any] = [member.id, member.recipe.describe(), member.accuracy.validation, member.accuracy.test]
        for name in costs:
            metric = member.metrics.get(name)
            row += [metric.value, metric.low, metric.high, metric.origin] if metric else [None] * 4
        rows.append([*row, member.key, models.get(member.id)])
    return {"columns": [*columns, "key", "model"], "data": rows}


def front_note(front: Front) -> str:
    """Write the front as Markdown, for the page of the search's run."""
    if not front.members:
        return "No candidate meets the limits."
    costs = _costs(front)
    lines = [
        f"{len(front.members)} candidates on the front of {len(front.judged) - 1}; the knee is {front.knee().id}.",  # type: ignore[union-attr]
        "",
        " | ".join(["", "candidate", "accuracy", *costs, "recipe", ""]).strip(),
        "|".join(["", *["---"] * (len(costs) + 3), ""]),
    ]
    for member in front.members:
        shown = [str(member.id), f"{accuracy_of(member):.4g}", *(_figure(member, name) for name in costs)]
        lines.append(" | ".join(["", *shown, member.recipe.describe(), ""]).strip())
    return "\n".join(lines)


def page_note(page: str) -> str:
    """Write where the Pareto page is as Markdown, for the page of the search's run."""
    return f"[Pareto view]({page}): explore the front and pick a model (in a server that `autoshrink ui` starts)."


def best_of(front: Front) -> dict[str, float]:
    """Give the best figure on the front by objective, as metrics ``best.NAME`` of the search's run."""
    known = {name: front.best(name) for name in front.objectives}
    figures = {f"best.{name}": abs(cost(member, name)) for name, member in known.items() if member is not None}
    if (best := front.best("accuracy")) is not None:
        figures["best.accuracy"] = accuracy_of(best) or 0.0  # an error that was negated stays negative
    return figures


def environment() -> str:
    """List Python, the system and every installed package with its version."""
    packages = {f"{item.metadata['Name']}=={item.version}" for item in importlib.metadata.distributions()}
    lines = [f"# Python {platform.python_version()}, {platform.platform()}", *sorted(packages, key=str.lower)]
    return "\n".join(lines) + "\n"


def _costs(front: Front) -> list[str]:
    found = {name for member in front.members for name in member.metrics}
    return [name for name in front.objectives if name in found] + sorted(found - set(front.objectives))


def _figure(member: Candidate, name: str) -> str:
    metric = member.metrics.get(name)
    if metric is None:
        return "–"
    note = "" if metric.origin == "measured" else f" ({metric.origin})"
    return show_quantity(metric.value, metric.unit) + note
