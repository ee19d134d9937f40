"""The end of a report: what was not offered and why, how to repeat everything, and what the words mean."""

from __future__ import annotations

import re

from autoshrink.core.candidate import State
from autoshrink.core.front import Judged
from autoshrink.tracking.report.blocks import (
    Block,
    Bullets,
    Code,
    Listing,
    Note,
    Paragraph,
    Section,
    Strong,
    Table,
)
from autoshrink.tracking.report.material import Material
from autoshrink.tracking.report.words import listed

__all__ = ["glossary", "refused", "repeated"]

_OUT: dict[State, str] = {
    "refused": "could not be made",
    "stopped": "given up early",
    "over_budget": "measured, and breaks a limit",
    "failed": "crashed",
}
_WORDS = {
    "measured": "taken on the device itself, in the runtime that the file is deployed on",
    "emulated": "counted exactly while the firmware ran on an emulated processor",
    "modelled": "computed from constants that somebody published, such as a power in watts; never a measurement",
    "counted": "a property of the network that takes no measuring",
    "band": "where the true value is expected, from its favorable to its unfavorable end. For what was timed it is a "
    "95 % interval, never narrower than what a time differs by from one process to the next; for what was modelled it "
    "is what the constants may be off by",
    "accuracy": "of the deployed file, as its runtime answers; that of the network before its export is not shown",
    "k, M, G": "thousands, as in 1 kB = 1000 bytes; m, µ and n are parts, as in 1 ms = 1000 µs = 1/1000 s",
}
_NUMBER = re.compile(r"\d[\d.,]*(?:e[+-]?\d+)?(?: ?(?:%|times|[kMGmnpµ]?[sBJ]|min|h)\b)?")
_MOST_GROUPS = 40
_LONGEST = 400


def refused(material: Material) -> Section:
    """Compose the chapter of what was not offered, grouped by reason."""
    groups: dict[tuple[State, str], list[Judged]] = {}
    for item in material.front.judged:
        if item.candidate.id and item.state in _OUT:
            groups.setdefault((item.state, _kind_of(item)), []).append(item)
    if not groups:
        text = "None was refused, stopped or over a limit."
        return Section("refused", "What was not offered, and why", (Paragraph(text),))
    order = sorted(groups.items(), key=lambda group: (list(_OUT).index(group[0][0]), -len(group[1])))
    rows = tuple(
        (str(len(items)), _OUT[state], _reason(items[0]), listed([item.candidate.id for item in items]))
        for (state, _), items in order
    )
    blocks: list[Block] = [
        Paragraph("Candidates with the same reason are in one row, with the words of the first of them:"),
        Table(
            ("candidates", "what became of them", "why (the first one's words)", "which"),
            rows[:_MOST_GROUPS],
            frozenset({0}),
        ),
    ]
    if len(rows) > _MOST_GROUPS:
        blocks.append(
            Note(
                f"{len(rows) - _MOST_GROUPS} rarer reasons are left out; "
                f"'autoshrink front {material.search} --json' has all."
            )
        )
    return Section("refused", "What was not offered, and why", tuple(blocks))


def repeated(material: Material) -> Section:
    """Compose the chapter of the commands."""
    versions = {**material.hardware.get("versions", {}), "autoshrink": material.version}
    lines = "\n".join(f"{command}   # {what}" for what, command in material.commands)
    named = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    blocks = (
        Paragraph(("In the folder ", Code(material.place), ", with ", named, ":")),
        Listing(lines, "sh"),
        Note(
            "A recipe, run again with the same seed and versions, gives the same file. A search that is bounded by "
            "time may try other recipes on another day."
        ),
    )
    return Section("again", "How to repeat it", blocks)


def glossary() -> Section:
    """Compose the chapter about words."""
    items = tuple((Strong(word), f": {meaning}.") for word, meaning in _WORDS.items())
    return Section("words", "What the words mean", (Bullets(items),))


def _kind_of(item: Judged) -> str:
    """Give what reasons have in common that differ in their figures only."""
    text = _reason(item) if item.state == "failed" else item.reason
    parts = [_NUMBER.sub("#", re.sub(r" \([^()]*\)", "", part)) for part in text.split("; ")]
    return "; ".join(sorted(parts))


def _reason(item: Judged) -> str:
    """Give a reason in a line: of a traceback its last one."""
    lines = [line for line in item.reason.strip().splitlines() if line.strip()] or ["no reason was kept"]
    text = lines[-1].strip() if item.state == "failed" else " ".join(lines)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
