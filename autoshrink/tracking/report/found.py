"""What the search found: the front as picture and table, or which limit binds when there is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from autoshrink.core import Candidate, show_quantity
from autoshrink.tracking.report.blocks import (
    Block,
    Bullets,
    Figure,
    Note,
    Paragraph,
    Picture,
    Section,
    Strong,
    Table,
    Text,
    Tile,
    Tiles,
)
from autoshrink.tracking.report.drawing import draw_panels
from autoshrink.tracking.report.material import Material
from autoshrink.tracking.report.words import SAME, STATES, band, compared, costs_of, figure, scored, short_recipe
from autoshrink.tracking.scene import scene_of

__all__ = ["found", "in_short"]

_MOST_ROWS = 100


def in_short(material: Material) -> Section:
    """Compose the first chapter: the answer."""
    return Section("short", "In short", tuple(_answer(material)))


def found(material: Material, picture: str) -> Section:
    """Compose the chapter of the front.

    Args:
        material: the search.
        picture: the name of the front's picture beside a Markdown file; empty for none.
    """
    return Section("found", "What was found", (*_counts(material), *_picture(material, picture), *_members(material)))


def _answer(material: Material) -> Iterator[Block]:
    front, chosen = material.front, material.chosen
    tried = len(front.judged) - 1
    if not front.members:
        text = f" The search tried {_count(tried, 'way')} to compress it."
        yield Paragraph((Strong("No model keeps all the limits."), text), lead=True)
        yield Bullets(tuple(front.shortfall()))
        yield Note(
            "What helps: a higher limit, a lower accuracy floor, a space with stronger techniques, a smaller "
            "original, or another device."
        )
    elif chosen is not None:
        yield Paragraph(tuple(_sentence(material, chosen.candidate, tried)), lead=True)
    if chosen is not None:
        yield _tiles(material, chosen.candidate)
        text = f", {chosen.why}. What measured, emulated and modelled mean is said at the end."
        yield Note(("The figures are those of ", Strong(f"candidate {chosen.candidate.id}"), text))


def _sentence(material: Material, chosen: Candidate, tried: int) -> Iterator[str | Strong | Figure]:
    front = material.front
    yield f"Of {_count(tried, 'compressed model')} that the search tried, "
    yield Strong(f"{len(front.members)} {'is' if len(front.members) == 1 else 'are'} worth choosing from")
    yield ": within every limit, and beaten in everything by no other. "
    if chosen.id == 0:
        yield "The best compromise is the original model itself."
        return
    yield f"Candidate {chosen.id} "
    yield Strong(_gains(material, chosen))
    yield ", at an accuracy of "
    yield scored(chosen)
    yield " instead of "
    yield scored(material.original)
    yield "."


def _gains(material: Material, chosen: Candidate) -> str:
    front, original = material.front, material.original
    named = [name for name in costs_of(front, chosen) if name in front.objectives]
    words = {name: text for name in named if (text := compared(chosen, original, name))}
    same = [name for name, text in words.items() if text == SAME]
    parts = [words[name] for name in named if name in words and name not in same]
    are = [part for part in parts if part.endswith("er")]
    takes = [part for part in parts if part not in are]
    clauses = [f"is {_joined(are)}" if are else "", f"takes {_joined(takes)}" if takes else ""]
    clauses.append(f"has about the same {_joined(same)}" if same else "")
    return ", and ".join(clause for clause in clauses if clause) or "costs what the original does"


def _joined(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _tiles(material: Material, chosen: Candidate) -> Tiles:
    original = material.original
    tiles = []
    if chosen.accuracy.validation is not None or chosen.accuracy.test is not None:
        split = "validation" if chosen.accuracy.test is None else "test"
        tiles.append(Tile("accuracy", scored(chosen), (f"on {split} data; original ", scored(original)), "measured"))
    for name in costs_of(material.front, chosen):
        metric = chosen.metrics.get(name)
        if metric is None or name not in ("latency", "memory", "size", "energy"):
            continue
        times = compared(chosen, original, name)
        limit = material.front.limits.costs.get(name)
        note: list[str | Figure] = []
        if chosen.id:
            note += [f"{times}; original " if times else "original ", figure(original, name)]
        if limit is not None:
            note += [
                "; limit " if note else "limit ",
                Figure(show_quantity(limit, metric.unit), limit, f"limits.{name}"),
            ]
        tiles.append(Tile(name, figure(chosen, name), tuple(note), metric.origin))
    return Tiles(tuple(tiles))


def _counts(material: Material) -> Iterator[Block]:
    states = Counter(item.state for item in material.front.judged if item.candidate.id)
    rows = tuple((str(count), meaning) for state, meaning in STATES.items() if (count := states[state]))
    if rows:
        yield Paragraph("What became of the candidates:")
        yield Table(("candidates", "each of them"), rows, frozenset({0}))
    times = {
        "total": "in all",
        "train": "training",
        "export": "writing files",
        "measure": "measuring",
        "engine": "choosing what to try next",
    }
    spent = [
        (words, value, f"seconds.{name}") for name, words in times.items() if (value := material.seconds.get(name))
    ]
    if spent:
        parts: list[str | Figure] = ["Time: "]
        for number, (words, value, name) in enumerate(spent):
            parts += ["; " if number else "", Figure(show_quantity(value, "s"), value, name), f" {words}"]
        yield Note((*parts, " (the parts may overlap, as several candidates are in work at a time)."))


def _picture(material: Material, picture: str) -> Iterator[Block]:
    front = material.front
    scene = scene_of(front, material.original, material.search)
    if not scene.panels:
        return
    caption: list[Text] = [
        "Every mark is one model: the higher, the more accurate; the farther to the left, the cheaper. On the shaded "
        "ground a limit is broken. Blue and numbered: the front. Star: the original. Grey: others within the limits. "
        "Red crosses: others that break a limit."
    ]
    yield Picture(
        draw_panels(scene),
        picture,
        f"The front of {material.search}: accuracy against each cost",
        (*caption, scene.footnote),
    )


def _members(material: Material) -> Iterator[Block]:
    front, original = material.front, material.original
    if not front.members:
        return
    costs = [name for name in costs_of(front) if name in ("latency", "memory", "size", "energy")]
    rows: list[tuple[Text, ...]] = []
    marked = set()
    listed = [original, *(member for member in front.members[:_MOST_ROWS] if member.id)]
    knee = front.knee()
    for number, member in enumerate(listed):
        if material.chosen is not None and member.id == material.chosen.candidate.id:
            marked.add(number)
        name = f"{member.id}{' (knee)' if knee is not None and member.id == knee.id else ''}"
        cells = [_cell(member, cost) for cost in costs]
        rows.append((name, scored(member), *cells, short_recipe(member)))
    yield Table(
        ("candidate", "accuracy", *costs, "what was done"),
        tuple(rows),
        frozenset(range(1, 2 + len(costs))),
        frozenset(marked),
    )
    if len(front.members) > _MOST_ROWS:
        yield Note(
            f"The table shows the first {_MOST_ROWS} of {len(front.members)}; "
            f"'autoshrink front {material.search} --json' has all."
        )
    split = (
        "the test data" if material.confirmed else "the validation data, since the search was not confirmed to its end"
    )
    yield Note(
        (
            f"Accuracy of the deployed file in its runtime, on {split}. In brackets: the band. ~ modelled, not "
            "measured. The knee is the best compromise: nearest to the best of every objective at once. Hypervolume, "
            "the share of the allowed ground that the front covers: ",
            Figure(f"{front.hypervolume:.4f}", front.hypervolume, "hypervolume"),
            ".",
        )
    )  # fmt: skip


def _cell(member: Candidate, name: str) -> Text:
    metric = member.metrics.get(name)
    if metric is None:
        return "–"
    mark = "~" if metric.origin == "modelled" else ""
    spread: Text = "" if metric.low == metric.high else (" (", band(member, name), ")")
    return (mark, figure(member, name), spread)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
