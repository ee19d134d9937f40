"""What the user asked for: limits, model, what may be done to it, and on which device."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping

from autoshrink.core import COSTS, Range, Step, show_quantity
from autoshrink.core.recipe import Scalar
from autoshrink.core.space import Values
from autoshrink.tracking.report.blocks import (
    Block,
    Code,
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
from autoshrink.tracking.report.words import METRICS, accuracy_label, figure, score

__all__ = ["asked"]


def asked(material: Material) -> Section:
    """Compose the chapter."""
    return Section(
        "asked", "What was asked", (*_limits(material), *_model(material), *_space(material), *_device(material))
    )


def _limits(material: Material) -> Iterator[Block]:
    target, limits, original = material.target, material.front.limits, material.original
    rows: list[tuple[Text, ...]] = []
    for name in (name for name in COSTS if name in limits.costs):
        limit = limits.costs[name]
        origin = "budget" if name in target.budget.limits else "what the device has"
        most = Figure(show_quantity(limit, COSTS[name]), limit, f"limits.{name}")
        rows.append((METRICS[name], ("at most ", most), origin, figure(original, name)))
    goal = target.accuracy
    said = "floor" if goal.floor is not None else f"at most {score(goal.max_drop or 0.0)} below the original"
    splits = [("validation", limits.floor, original.accuracy.validation)]
    if limits.test_floor is not None:
        splits.append(("test", limits.test_floor, original.accuracy.test))
    for split, floor, before in splits:
        least: Text = Figure(score(floor), floor, "limits.accuracy") if split == "validation" else score(floor)
        had: Text = "–" if before is None else Figure(score(before), before, f"0.accuracy.{split}")
        rows.append((accuracy_label(target.metric, split), ("at least ", least), said, had))
    yield Paragraph(
        "A smaller, faster version of a trained model, for one device. These limits are hard: a model that breaks "
        "one of them is not offered."
    )
    yield Table(("limit", "asked", "because of", "the original model"), tuple(rows), frozenset({1, 3}))
    yield Note(
        "A limit is compared with the unfavorable end of a figure's band. Validation data steer the search; test "
        "data are kept "
        "away from it, and judge its result."
    )


def _model(material: Material) -> Iterator[Block]:
    target = material.target
    facts = material.original.facts
    rows: list[tuple[Text, ...]] = [("model", Code(target.model))]
    if target.weights:
        rows.append(("weights", Code(target.weights)))
    rows += [
        ("data", Code(target.data)),
        ("accuracy is", Code(target.metric)),
        ("made small and fast", ", ".join(material.front.objectives)),
    ]
    counted = {"parameters": "parameters (numbers that training found)", "macs": "multiplications for one input"}
    rows += [
        (words, Figure(f"{facts[name]:,.0f}", facts[name], f"0.facts.{name}"))
        for name, words in counted.items()
        if name in facts
    ]
    rows.append(("how long", _effort(material)))
    yield Table(("the original", ""), tuple(rows))


def _effort(material: Material) -> str:
    search = material.target.search
    time = "" if search.time is None else f", no new one after {show_quantity(search.time, 's')}"
    return (
        f"up to {search.candidates} candidates{time}, {search.workers} at a time; "
        f"sampler {search.sampler}, seed {search.seed}"
    )


def _space(material: Material) -> Iterator[Block]:
    space = material.target.search.space
    rows = tuple(
        (
            Strong(step.kind.replace("_", " ")),
            _meaning(step.kind),
            "may be left out" if step.optional else "always",
            _settings(step),
        )
        for step in space.steps
    )
    yield Paragraph(("What may be done to the model", f" (space {space.name})" if space.name else "", ":"))
    yield Table(("technique", "what it does", "used", "settings, drawn from"), rows)


def _meaning(kind: str) -> str:
    # "Low rank: a layer becomes …": the first line of the technique's own file.
    text = importlib.import_module(f"autoshrink.techniques.{kind}").__doc__ or ""
    return text.strip().splitlines()[0].partition(": ")[2] if text.strip() else ""


def _settings(step: Step) -> Text:
    return (
        "; ".join(f"{name.replace('_', ' ')}: {_drawn(value)}" for name, value in step.params.items())
        or "its own defaults"
    )


def _drawn(value: Scalar | Values | Range) -> str:
    if isinstance(value, Range):
        return f"{value.low:g} to {value.high:g}"
    return " or ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _device(material: Material) -> Iterator[Block]:
    hardware, found = material.target.hardware, material.hardware
    yield Paragraph(
        (
            "Measured on ",
            Strong(hardware.name),
            ", with the runtime ",
            Code(hardware.backend),
            ", device ",
            Code(hardware.device),
            ".",
        )
    )
    key = found.get("key")
    rows = tuple((Code(name), value) for name, value in _flat(found) if name != "key")
    if rows:
        yield Note(
            (
                "The device's fingerprint is ",
                Code(str(key)),
                ": with another one, the figures would have to be measured again.",
            )
        )
        yield Fold("The device's fingerprint in full", (Table(("fact", "value"), rows),))
    yield Fold("The target file", (Listing(material.target.to_yaml(), "yaml"),))


def _flat(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        yield name, ", ".join(map(str, value)) or "none"
    else:
        yield name, str(value)
