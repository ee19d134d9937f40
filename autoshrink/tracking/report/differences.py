"""Where the described model answers otherwise than the original, and what rounding did to its weights."""

from __future__ import annotations

import math
from collections.abc import Iterator

from autoshrink.models.comparison import Case, ClassChange, Classes, Values
from autoshrink.tracking.report.blocks import (
    Block,
    Fold,
    Gallery,
    Note,
    Paragraph,
    Section,
    Strong,
    Table,
    Text,
    Thumbnail,
)
from autoshrink.tracking.report.material import Evidence, Material

__all__ = ["differences", "rounding"]

_PICTURES = 12
_CASES = 200


def differences(material: Material) -> Section:
    """Compose the chapter about the answers."""
    found = material.evidence.comparison
    if isinstance(found, str):
        blocks: tuple[Block, ...] = (Note(found),)
    elif isinstance(found, Values):
        blocks = tuple(_values(found, material.evidence))
    else:
        blocks = tuple(_classes(found, material.evidence))
    return Section("answers", "Where it answers otherwise", blocks)


def rounding(material: Material) -> Section:
    """Compose the chapter about the weights."""
    found = material.evidence.weights
    if isinstance(found, str):
        return Section("weights", "Quantization error per layer", (Note(found),))
    rows: list[tuple[Text, ...]] = []
    for item in found:
        exact = item.error is not None and math.isinf(item.sqnr or 0.0)
        error = "not found in the file" if item.error is None else "none" if exact else f"{100 * item.error:.2f} %"
        ratio = "–" if item.sqnr is None else "exact" if exact else f"{item.sqnr:.1f} dB"
        zeros = f"{100 * item.zeros / item.weights:.0f} %" if item.zeros else "–"
        rows.append((item.name or "(the model)", item.type, f"{item.weights:,}", zeros, error, ratio))
    blocks = (
        Paragraph("How far the numbers in the deployed file are from the floats that training left, layer by layer:"),
        Table(("layer", "kind", "weights", "pruned to zero", "error", "SQNR"), tuple(rows), frozenset({2, 3, 4, 5})),
        Note(
            "Measured: the weights were read back from the file and compared with those before its number format. "
            "The error is the root mean square difference, as a share of the weights' root mean square. SQNR is the "
            "same in decibels (signal-to-quantization-noise ratio): 6 dB more is half the error. As a rule 8 bits give "
            "40 dB and more, 4 bits about 20 dB. Where the recipe trains on after rounding, or shares weights, that "
            "change is in it too. What it does to the answers is the accuracy above."
        ),
    )  # fmt: skip
    return Section("weights", "Quantization error per layer", blocks)


def _classes(found: Classes, evidence: Evidence) -> Iterator[Block]:
    differ = found.lost + found.won + found.astray
    yield Paragraph(
        (
            f"Of {found.answers:,} answers on the test data, ",
            Strong(f"{differ:,} {'is' if differ == 1 else 'are'} not the original's"),
            f": {found.lost} right before and wrong now, {found.won} wrong before and right now, {found.astray} "
            "wrong in another way. Measured: both files answered in their runtime.",
        )
    )
    rows = tuple(_row(change) for change in found.changes)
    marked = frozenset(number for number, change in enumerate(found.changes) if change.after < change.before)
    yield Paragraph((Strong("Accuracy by class"), ": how many of each class are recognized."))
    table = Table(("class", "examples", "the original", "this model", "change"), rows, frozenset({1, 2, 3, 4}), marked)
    yield table if len(rows) <= 30 else Fold(f"All {len(rows)} classes", (table,))
    if found.cases:
        yield from _shown(found.cases, evidence, "classes")


def _row(change: ClassChange) -> tuple[str, ...]:
    shares = [100 * right / change.examples for right in (change.before, change.after)]
    moved = f"{shares[1] - shares[0]:+.1f} points".replace("-", "−") if change.after != change.before else "–"
    counted = (f"{share:.1f} % ({right})" for share, right in zip(shares, (change.before, change.after), strict=True))
    return str(change.label), f"{change.examples:,}", *counted, moved


def _values(found: Values, evidence: Evidence) -> Iterator[Block]:
    share = (
        f", which is {100 * found.difference / found.spread:.2g} % of the spread of the original's answers"
        if found.spread
        else ""
    )
    yield Paragraph(
        f"Over {found.answers:,} test examples the answers differ from the original's by {found.difference:.4g} "
        f"(root mean square){share}. Measured: both files answered in their runtime."
    )
    if found.cases:
        yield from _shown(found.cases, evidence, "values")


def _shown(cases: tuple[Case, ...], evidence: Evidence, kind: str) -> Iterator[Block]:
    pictured = [case for case in cases if case.index in evidence.pictures][:_PICTURES]
    yield Paragraph(
        (
            Strong("Examples on which they differ"),
            ", the worst first. The number is the place in the test data, counted from 0.",
        )
    )
    if pictured:
        yield Gallery(tuple(Thumbnail(evidence.pictures[case.index], _caption(case, kind)) for case in pictured))
    rest = [case for case in cases[:_CASES] if case not in pictured]
    if rest:
        rows = tuple(
            (str(case.index), *(_answer(value, kind) for value in (case.label, case.before, case.after)))
            for case in rest
        )
        table = Table(("example", "label", "the original says", "this model says"), rows, frozenset({0}))
        yield Fold(f"{len(rest)} more", (table,)) if pictured or len(rest) > 20 else table


def _caption(case: Case, kind: str) -> Text:
    if case.label is None and case.before is None:
        return f"example {case.index}"
    label, before, after = (_answer(value, kind) for value in (case.label, case.before, case.after))
    return (f"example {case.index}, label ", Strong(label), f": original {before}, now ", Strong(after))


def _answer(value: float | None, kind: str) -> str:
    return "several" if value is None else f"{value:.0f}" if kind == "classes" else f"{value:.4g}"
