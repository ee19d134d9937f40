"""What a version of a registered model says about itself: tags to filter by, and a model card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autoshrink.core import COSTS, show_quantity
from autoshrink.tracking.points import BRIEF, PAGE, POINT

__all__ = ["SEARCH_ID", "Card", "card_of", "loading"]

SEARCH_ID = "autoshrink.search_id"
"""The tag of a version that says which search it came from, whatever else has the same name."""

_LONGEST = 4000


@dataclass(frozen=True)
class Card:
    """The tags and the description of one version."""

    tags: dict[str, str]
    description: str


def card_of(search: Mapping[str, str], candidate: Mapping[str, str]) -> Card:
    """Write a card from what MLflow holds, so that it is the same whoever picks.

    Args:
        search: tags of the search's run.
        candidate: tags of the candidate's run.

    Raises:
        ValueError: the runs were not logged by a search of this version.
    """
    if BRIEF not in search or POINT not in candidate:
        raise ValueError("this run has no record of a search: send it again with 'autoshrink search --resume NAME'")
    brief, point = json.loads(search[BRIEF]), json.loads(candidate[POINT])
    figures = _figures(point)
    limits = [f"accuracy ≥ {_short(brief['limits']['floor'])}"]
    limits += [f"{name} ≤ {show_quantity(x, COSTS[name])}" for name, x in brief["limits"]["costs"].items()]
    name = search.get("mlflow.runName", "")
    tags = {
        "autoshrink.candidate": str(point["id"]),
        "autoshrink.key": point["key"],
        "autoshrink.search": name,
        SEARCH_ID: search.get("autoshrink.search", ""),
        "autoshrink.target": brief["target"],
        "autoshrink.original": brief["model"],
        "autoshrink.hardware": brief["hardware"]["name"],
        "autoshrink.fingerprint": brief["fingerprint"],
        "autoshrink.budget": ", ".join(limits),
        "autoshrink.recipe": json.dumps(point["steps"], ensure_ascii=False),
        "autoshrink.figures": json.dumps(figures, ensure_ascii=False),
        **{figure: _words(figure, value) for figure, value in figures.items()},
    }
    kept = {key: value[:_LONGEST] for key, value in tags.items() if value}
    return Card(kept, _description(brief, point, figures, name, limits, search.get(PAGE, "")))


def loading(backend: str, uri: str) -> str:
    """Give the line of Python that loads a registered model.

    Args:
        backend: the runtime that its files are for.
        uri: such as ``models:/digits@production``.
    """
    if backend == "onnxruntime":
        return f'mlflow.onnx.load_model("{uri}")'
    return f'mlflow.artifacts.download_artifacts("{uri}")'


def _figures(point: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    figures: dict[str, dict[str, Any]] = {
        f"accuracy.{split}": {"value": x, "unit": "1", "low": x, "high": x, "origin": "measured"}
        for split, x in point["accuracy"].items()
    }
    for name, (value, low, high, origin) in point["metrics"].items():
        figures[name] = {"value": value, "unit": COSTS.get(name, "1"), "low": low, "high": high, "origin": origin}
    return figures


def _words(name: str, figure: Mapping[str, Any]) -> str:
    if name.startswith("accuracy"):
        return f"{_short(figure['value'])}, {figure['origin']}"
    value, low, high = (show_quantity(figure[part], figure["unit"]) for part in ("value", "low", "high"))
    return f"{value}, {figure['origin']}" if low == high else f"{value} ({low} to {high}), {figure['origin']}"


def _description(
    brief: Mapping[str, Any],
    point: Mapping[str, Any],
    figures: Mapping[str, Mapping[str, Any]],
    name: str,
    limits: list[str],
    page: str,
) -> str:
    before = {**brief["limits"]["baseline"], **{f"accuracy.{k}": v for k, v in brief.get("original", {}).items()}}
    lines = [
        f"Candidate {point['id']} of the search {_code(name)}: {_code(brief['model'])} compressed by autoshrink for "
        f"{_code(brief['hardware']['name'])}.",
        "",
        "| figure | value | origin | original model |",
        "|---|---|---|---|",
    ]
    for figure, value in figures.items():
        words, _, origin = _words(figure, value).rpartition(", ")
        old = before.get(figure)
        shown = "–" if old is None else _short(old) if value["unit"] == "1" else show_quantity(old, value["unit"])
        lines.append(f"| {figure} | {words} | {origin} | {shown} |")
    lines += ["", f"Limits: {', '.join(limits)}.", "", "Recipe:", ""]
    for step in point["steps"] or [{"kind": "none: the original model"}]:
        settings = ", ".join(f"{key} {value}" for key, value in step.items() if key != "kind")
        lines.append(f"- {_code(step['kind'])}{settings and ': '}{_code(settings) if settings else ''}")
    lines += ["", "Accuracy is that of the deployed file in its runtime. A figure that is not measured says so."]
    if page:
        lines += ["", f"[The search's Pareto view]({page}#pick={point['id']})"]
    return "\n".join(lines)[:_LONGEST]


def _code(text: object) -> str:
    plain = " ".join(str(text).replace("`", "'").replace("|", "/").split())
    return f"`{plain}`" if plain else "–"


def _short(value: float) -> str:
    return f"{value:.4g}"
