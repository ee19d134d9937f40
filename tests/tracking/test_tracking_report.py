"""The report of a search: true to its figures, safe with hostile names, and readable where parts are missing."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from headless import opened
from matplotlib.image import imread

from autoshrink.core import Candidate, Measurement, Metric, SpecError, Target, judge
from autoshrink.models.comparison import Case, ClassChange, Classes, Values
from autoshrink.techniques.weight_errors import WeightError
from autoshrink.tracking.report.compose import check_files, write_files
from autoshrink.tracking.report.material import Chosen, Evidence, Material
from autoshrink.tracking.report.thumbnails import thumbnail

LIMIT = 6_000_000
HOSTILE = (
    '</style><script>document.title = "x"</script><img src="http://reports.invalid/x.png" onerror="x()"> | `a` *b*'
)
COMPARISON = Classes(100, 3, 1, 0, (ClassChange(0, 50, 49, 47), ClassChange(1, 50, 48, 48)), (Case(7, 0, 0, 1),))
WEIGHTS = (WeightError("body.0", "Conv2d", 144, 0, 0.0), WeightError("head", "Linear", 160, 40, 0.005))


class Page(HTMLParser):
    """Elements by name with their attributes, the exact figures, and the text that is seen."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._hidden = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._hidden = tag in ("style", "title")

    def handle_endtag(self, tag: str) -> None:
        self._hidden = False

    def handle_data(self, data: str) -> None:
        self.text += "" if self._hidden else data

    @property
    def figures(self) -> dict[str, float]:
        data = [found for tag, found in self.elements if tag == "data"]
        return {str(found["data-figure"]): float(str(found["value"])) for found in data}


@pytest.fixture
def material(searched) -> Material:
    front = searched.front()
    return Material(
        search="digits-1",
        target=searched.target,
        front=front,
        confirmed=False,
        hardware={"key": "abc", "device": {"processor": "a chip"}, "versions": {"onnxruntime": "1.0"}},
        seconds={"total": 60.0, "train": 20.0},
        chosen=Chosen(front.members[0], "the knee of the front"),
        evidence=Evidence(COMPARISON, {7: b"png"}, WEIGHTS),
        lender=None,
        place="/home/me",
        commands=(("the search again", "autoshrink search digits.yaml"),),
        version="0.1.0",
        made="2026-01-01 12:00",
    )


@pytest.fixture
def written(tmp_path):
    """Writes a report in both forms."""

    def write(material: Material) -> tuple[Page, str]:
        page, text = tmp_path / "report.html", tmp_path / "report.md"
        write_files(material, [page, text])
        assert page.stat().st_size < LIMIT
        return Page(page.read_text(encoding="utf-8")), text.read_text(encoding="utf-8")

    return write


def test_both_forms_say_the_same(material, written):
    page, text = written(material)
    plain = text.replace("\\", "")
    for words in ("What was asked", "at most 40.0 µs", "2 are worth choosing from", "99.00 %", "−4.0 points"):
        assert words in page.text, words
        assert words in plain.replace("**", ""), words
    for words in ("low rank", "the search again", "autoshrink search digits.yaml", "modelled", "a chip", "46.0 dB"):
        assert words in page.text, words
        assert words in plain, words
    assert (text.count("\n## "), sum(tag == "section" for tag, _ in page.elements)) == (9, 9)


def test_figures_are_exact_beside_what_is_shown(material, written, searched):
    figures = written(material)[0].figures
    known = {candidate.id: candidate for candidate in searched.candidates}
    wanted = {f"limits.{name}": value for name, value in material.front.limits.costs.items()}
    assert wanted.items() <= figures.items()
    for number in (0, material.chosen.candidate.id):
        for name, metric in known[number].metrics.items():
            assert figures[f"{number}.{name}.value"] == metric.value
        assert figures[f"{number}.accuracy.validation"] == known[number].accuracy.validation
    assert figures["hypervolume"] == material.front.hypervolume


def test_every_figure_has_unit_band_and_origin(material, written):
    chosen = material.chosen.candidate
    text = written(material)[1]
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| latency (time")]
    assert rows[1][1:] == ["100 µs", "10.0 µs", "10.0 times faster", "9.00 µs to 11.0 µs", "measured |"]
    assert chosen.metrics["energy"].origin == "modelled"
    [energy] = [line for line in text.splitlines() if line.startswith("| energy (for")]
    assert energy.endswith("| 30.0 µJ to 90.0 µJ | modelled |")


def hostile(material: Material) -> Material:
    document = material.target.model_dump(mode="json", exclude_none=True)
    document |= {"model": f"{HOSTILE}.py:build", "weights": HOSTILE, "data": f"{HOSTILE}.py:splits", "metric": HOSTILE}
    document["hardware"] |= {"name": HOSTILE}
    target = Target.parse(document, material.target.source)
    items = [item.candidate for item in material.front.judged]
    items += [Candidate(id=9, recipe=items[1].recipe, outcome="refused", reason=HOSTILE)]
    return replace(
        material,
        target=target,
        search=HOSTILE,
        front=judge(items, material.front.objectives, material.front.limits),
        hardware={"key": HOSTILE, "device": {HOSTILE: HOSTILE}, "versions": {HOSTILE: HOSTILE}},
        place=HOSTILE,
        evidence=Evidence(f"Not known: {HOSTILE}", weights=(replace(WEIGHTS[0], name=HOSTILE),)),
        commands=((HOSTILE, f"autoshrink front {HOSTILE}"),),
    )


def test_hostile_names_are_text_in_the_page(material, written):
    page, _ = written(hostile(material))
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.elements}
    sources = [found["src"] for tag, found in page.elements if tag == "img"]
    assert all(str(source).startswith("data:image/png;base64,") for source in sources)
    assert not [name for _, found in page.elements for name in found if name.startswith("on")]
    assert page.text.count(HOSTILE) > 10


def test_hostile_names_are_text_in_markdown(material, written):
    _, text = written(hostile(material))
    outside = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    outside = re.sub(r"(?<!\\)`[^`]*`|!\[[^\n]*\]\(<report-front.png>\)", "", outside)
    assert not re.search(r"(?<!\\)[<>]", outside)
    tables = [group.splitlines() for group in re.split(r"\n\n", text) if group.startswith("|")]
    assert len(tables) > 5
    for rows in tables:
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1, rows


def test_the_page_opens_without_a_network_and_nothing_in_it_runs(material, written, tmp_path):
    written(hostile(material))
    document, asked = opened(tmp_path / "report.html", tmp_path)
    assert asked == []
    assert "<script" not in document
    assert "What the words mean" in document
    control = tmp_path / "control.html"
    control.write_text(f"<p>{HOSTILE}")
    _, asked = opened(control, tmp_path)
    assert asked == ["http://reports.invalid/x.png"], "what the test above looks for is found where it is"


def test_an_empty_front_says_which_limit_binds_and_what_comes_nearest(material, written):
    limits = material.front.limits.model_copy(update={"costs": {"latency": 1e-6}})
    items = [item.candidate for item in material.front.judged]
    front = judge(items, material.front.objectives, limits)
    nearest = front.nearest_miss()
    assert nearest is not None
    page, text = written(replace(material, front=front, chosen=Chosen(nearest, "which comes nearest")))
    assert "No model keeps all the limits." in page.text
    assert "the limit that binds: latency 1.00 µs" in page.text
    assert f"the nearest candidate: {nearest.id}" in text
    assert "Not known" not in text
    page, _ = written(replace(material, front=front, chosen=None, evidence=Evidence("None.", weights="None.")))
    assert "there is none to describe" in page.text


def test_what_is_missing_says_why(material, written):
    page, text = written(replace(material, evidence=Evidence("Not known: no data.", weights="Not known: no model.")))
    for form in (page.text, text):
        assert "Not known: no data." in form
        assert "Not known: no model." in form


def test_reasons_are_grouped_without_their_figures(material, written):
    items = [item.candidate for item in material.front.judged]
    recipe = items[1].recipe
    reasons = [f"before any training: size {n} kB is {n}.5 % over the limit of 10 kB" for n in range(20, 25)]
    items += [Candidate(id=10 + n, recipe=recipe, outcome="stopped", reason=why) for n, why in enumerate(reasons)]
    front = judge(items, material.front.objectives, material.front.limits)
    text = written(replace(material, front=front))[1]
    [row] = [line for line in text.splitlines() if "before any training" in line]
    assert row.startswith("| 5 | given up early |")
    assert row.endswith("| 10, 11, 12, 13, 14 |")
    assert "| 1 | crashed | ValueError: boom | 5 |" in text


def described(material: Material, **conditions: object) -> Material:
    chosen = material.chosen.candidate
    measurement = Measurement(metrics=chosen.metrics, conditions=conditions)
    return replace(material, chosen=Chosen(chosen.model_copy(update={"measurement": measurement}), "picked"))


def test_percentiles_stand_beside_the_original_s(material, written):
    times = {"median": 11e-6, "p90": 12e-6, "p95": 13e-6, "p99": 99e-6}
    ratio = {"value": 0.1, "low": 0.08, "high": 0.125}
    both = described(material, **times, calls=1000, ratio=ratio, reference={"median": 101e-6})
    text = written(both)[1]
    assert "| 90 % of the calls took at most | 12.0 µs | not kept |" in text
    assert "| 50 % (the median) of the calls took at most | 11.0 µs | 101 µs |" in text
    assert "10.00 times the original's speed" in text
    assert "8.00 to 12.50" in text
    assert "Not kept with this measurement" in written(described(material))[1]


def test_an_emulated_device_has_no_percentiles_and_says_so(material, written):
    chosen = material.chosen.candidate
    metrics = {
        **chosen.metrics,
        "latency": chosen.metrics["latency"].model_copy(update={"origin": "modelled"}),
        "instructions": Metric.exact(1_234_567, "1", "emulated"),
    }
    measured = chosen.model_copy(update={"measurement": Measurement(metrics=metrics)})
    page, text = written(replace(material, chosen=Chosen(measured, "picked")))
    assert "takes the same cycles for every input" in page.text
    assert "| instructions (for one input) | – | 1,234,567 |" in text


def test_answers_that_are_numbers_are_told_by_their_distance(material, written):
    values = Values(50, 0.25, 2.0, (Case(3, 1.0, 1.5, 4.0), Case(4, None, None, None)))
    page, _ = written(replace(material, evidence=Evidence(values, weights=WEIGHTS)))
    assert "differ from the original's by 0.25 (root mean square), which is 12 % of the spread" in page.text


@pytest.mark.parametrize(
    ("shape", "seen"),
    [
        ((8, 8), (8, 8)),
        ((1, 28, 28), (28, 28)),
        ((28, 28, 1), (28, 28)),
        ((3, 200, 180), (67, 60)),
        ((32, 32, 3), (32, 32)),
        ((64,), None),
        ((3, 13), None),
        ((8, 3000), None),
        ((16, 8, 8), None),
    ],
)
def test_only_what_has_the_shape_of_a_picture_is_shown_as_one(shape, seen):
    png = thumbnail(np.linspace(0, 1, int(np.prod(shape))).reshape(shape), 0.0, 1.0)
    assert (png is None) == (seen is None)
    if png is not None:
        pixels = imread(io.BytesIO(png))
        assert pixels.shape[:2] == seen
        assert pixels[..., :3].min() == 0
        assert pixels[..., :3].max() == pytest.approx(1, abs=0.05)


def test_ten_thousand_candidates_still_make_a_page_to_send(material, written, searched):
    generator = np.random.default_rng(0)
    items = [item.candidate for item in material.front.judged]
    front = items[1]
    for number in range(10, 10_000):
        latency = Metric.exact(float(generator.uniform(15e-6, 60e-6)), "s", "measured")
        metrics = {**front.metrics, "latency": latency}
        items.append(front.model_copy(update={"id": number, "measurement": Measurement(metrics=metrics)}))
    many = judge(items, material.front.objectives, material.front.limits)
    write_files(replace(material, front=many), [searched.folder / "report.html"])
    assert (searched.folder / "report.html").stat().st_size < LIMIT / 4


@pytest.mark.parametrize("name", ["report.pdf", "report", "nowhere/report.html"])
def test_a_file_that_cannot_be_written_is_said_in_one_line(name, tmp_path):
    with pytest.raises(SpecError, match=r"--report .*report"):
        check_files([tmp_path / name])
