"""The candidate that a report describes: its figures beside the original's, what was done, and what that took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from autoshrink.core import Candidate, Metric, show_quantity
from autoshrink.core.front import accuracy_of
from autoshrink.models.comparison import Classes
from autoshrink.techniques.registry import techniques_of
from autoshrink.tracking.report.blocks import (
    Block,
    Bullets,
    Figure,
    Fold,
    Listing,
    Note,
    Paragraph,
    Section,
    Strong,
    Table,
    Text,
)
from autoshrink.tracking.report.material import Material
from autoshrink.tracking.report.words import (
    METRICS,
    accuracy_label,
    band,
    compared,
    costs_of,
    figure,
    score,
    scored,
    short_recipe,
)

__all__ = ["described"]

_SHARES = {"median": "50 % (the median)", "p90": "90 %", "p95": "95 %", "p99": "99 %"}
_STAGES = {
    "train": "training, with what shapes the network before it",
    "export": "writing and encoding the file",
    "measure": "measuring",
}


def described(material: Material) -> Section:
    """Compose the chapter."""
    chosen = material.chosen
    if chosen is None:
        return Section(
            "model", "The model", (Paragraph("No candidate was measured, so that there is none to describe."),)
        )
    candidate = chosen.candidate
    blocks = (
        *_recipe(candidate, chosen.why),
        *_figures(material, candidate),
        *_latency(candidate),
        *_effort(material, candidate),
    )
    return Section(
        "model", f"The model: candidate {candidate.id}" if candidate.id else "The model: the original itself", blocks
    )


def _recipe(candidate: Candidate, why: str) -> Iterator[Block]:
    yield Paragraph((f"This is candidate {candidate.id}, {why}: ", Strong(short_recipe(candidate)), "."))
    if candidate.recipe.steps:
        items = [(Strong(item.kind.replace("_", " ")), ": ", item.label()) for item in techniques_of(candidate.recipe)]
        yield Paragraph("What was done to the original, in this order:")
        yield Bullets(tuple(items))
        yield Fold("The recipe with all settings", (Listing(candidate.recipe.to_yaml(), "yaml"),))


def _figures(material: Material, candidate: Candidate) -> Iterator[Block]:
    original = material.original
    rows: list[tuple[Text, ...]] = list(_accuracy(material, candidate))
    names = [name for name in costs_of(material.front, candidate) if name in candidate.metrics]
    for name in names:
        metric = candidate.metrics[name]
        change = compared(candidate, original, name)
        label = METRICS.get(name, name)
        rows.append(
            (label, figure(original, name), figure(candidate, name), change, band(candidate, name), metric.origin)
        )
    rows += _counts(candidate, original)
    yield Table(("", "the original", "this model", "change", "band", "origin"), tuple(rows), frozenset({1, 2}))
    yield from _ratio(candidate)
    notes = (
        [f"Energy: {candidate.measurement.conditions['energy']}."]
        if "energy" in candidate.measurement.conditions
        else []
    )
    if candidate.measurement.conditions.get("quiet") is False:
        notes.append("The machine was busy while this was measured, which made the band wider.")
    if notes:
        yield Note(" ".join(notes))


def _accuracy(material: Material, candidate: Candidate) -> Iterator[tuple[Text, ...]]:
    original = material.original
    before, after = accuracy_of(original), accuracy_of(candidate)
    if before is None or after is None:
        return
    split = "validation" if candidate.accuracy.test is None else "test"
    if split == "validation":
        before = original.accuracy.validation if original.accuracy.validation is not None else before
    had = Figure(score(before), before, f"0.accuracy.{split}")
    between = _interval(material, after)
    yield (
        accuracy_label(material.target.metric, split),
        had,
        scored(candidate),
        _points(after - before),
        between,
        "measured",
    )
    if candidate.id and before > 0:
        yield (
            "accuracy retention: what is left of the original's",
            "100 %",
            f"{100 * after / before:.2f} %",
            "",
            "–",
            "from the two above",
        )


def _points(change: float) -> str:
    return f"{100 * change:+.2f} points".replace("-", "−") if abs(change) <= 1 else f"{change:+.4g}".replace("-", "−")


def _interval(material: Material, after: float) -> str:
    """Give the 95 % interval of a share of right answers, by Wilson's formula: what chance in the data allows for."""
    found = material.evidence.comparison
    if not isinstance(found, Classes) or abs(found.after - after) > 1e-6:
        return "–"
    count, z = found.answers, 1.96
    middle = (after + z * z / (2 * count)) / (1 + z * z / count)
    half = z * (after * (1 - after) / count + z * z / (4 * count * count)) ** 0.5 / (1 + z * z / count)
    return f"{score(max(middle - half, 0.0))} to {score(min(middle + half, 1.0))} (chance, {count} answers)"


def _counts(candidate: Candidate, original: Candidate) -> Iterator[tuple[Text, ...]]:
    kinds = {
        "macs": "multiplications for one input",
        "parameters": "parameters",
        "nonzero": "parameters that are not zero",
    }
    for name, words in kinds.items():
        if name in candidate.facts and name in original.facts:
            before, after = original.facts[name], candidate.facts[name]
            change = f"{before / after:.1f} times fewer" if after and before > after else ""
            cells = [
                Figure(f"{value:,.0f}", value, f"{which}.facts.{name}")
                for which, value in ((0, before), (candidate.id, after))
            ]
            yield words, *cells, change, "exact", "counted"
    if "nonzero" in candidate.facts and original.facts.get("parameters"):
        rate = 1 - candidate.facts["nonzero"] / original.facts["parameters"]
        yield (
            "pruning rate: the original's parameters that are gone or zero",
            "0 %",
            f"{100 * rate:.1f} %",
            "",
            "exact",
            "counted",
        )
    if "size" in candidate.metrics and "size" in original.metrics and candidate.metrics["size"].value:
        ratio = original.metrics["size"].value / candidate.metrics["size"].value
        yield "compression ratio: the original's size over this one's", "1", f"{ratio:.1f}", "", "–", "from the sizes"


def _ratio(candidate: Candidate) -> Iterator[Block]:
    ratio = candidate.measurement.conditions.get("ratio")
    if isinstance(ratio, Mapping) and candidate.id:
        value, low, high = 1 / ratio["value"], 1 / ratio["high"], 1 / ratio["low"]
        yield Paragraph(
            (
                "Timed in turn with the original, so that a busy machine slows both: ",
                Strong(f"{value:.2f} times the original's speed"),
                f" (measured; 95 % interval {low:.2f} to {high:.2f}).",
            )
        )


def _latency(candidate: Candidate) -> Iterator[Block]:
    conditions = candidate.measurement.conditions
    metric = candidate.metrics.get("latency")
    if metric is None:
        return
    yield Paragraph((Strong("How the time of one input varies"), " (latency percentiles):"))
    if "median" not in conditions:
        yield Note(_steady(metric))
        return
    beside = conditions.get("reference") if candidate.id else None
    other: Mapping[str, Any] = beside if isinstance(beside, Mapping) else {}
    rows = []
    for name, words in _SHARES.items():
        own, its = (show_quantity(times[name], "s") if name in times else "not kept" for times in (conditions, other))
        rows.append((f"{words} of the calls took at most", own, *([its] if other else [])))
    columns = ("", "this model", *(["the original, in turn with it"] if other else []))
    yield Table(columns, tuple(rows), frozenset({1, 2}) if other else frozenset({1}))
    calls = f" of {conditions['calls']:,} calls" if "calls" in conditions else ""
    yield Note(
        f"Measured{calls}, as the clock gave them on this machine at that time. The latency above is the time on an "
        "undisturbed core at the pace that the machine had when the original was measured, which is what a choice "
        "between models needs."
    )


def _steady(metric: Metric) -> str:
    if metric.origin == "measured":
        return "Not kept with this measurement."
    return (
        f"None: the latency is {metric.origin}. A processor like this takes the same cycles for every input, as "
        "nothing else runs on it; the band is what the model of its timing may be off by."
    )


def _effort(material: Material, candidate: Candidate) -> Iterator[Block]:
    rows: list[tuple[Text, ...]] = [
        (words, Figure(show_quantity(value, "s"), value, f"{candidate.id}.seconds.{stage}"))
        for stage, words in _STAGES.items()
        if (value := candidate.seconds.get(stage)) is not None
    ]
    yield Paragraph((Strong("Training time, and what else it took to make it"), " (wall time, measured):"))
    lender = material.lender
    if lender is not None:
        taken = lender.seconds["train"]
        rows.append(
            (
                f"training of candidate {lender.id}, whose weights it shares",
                Figure(show_quantity(taken, "s"), taken, f"{lender.id}.seconds.train"),
            )
        )
    if rows:
        yield Table(("", "time"), tuple(rows), frozenset({1}))
    else:
        yield Note("Taken over from an earlier search of the same model on the same device: nothing was trained anew.")
