"""Names and errors that hold markup, control characters or line breaks are only text on the console."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text
from typer.testing import CliRunner

from autoshrink.cli import app
from autoshrink.console.printing import PlainConsole
from autoshrink.console.tables import print_front
from autoshrink.core import Accuracy, Candidate, Front, Metric, Recipe, judge
from autoshrink.core.front import Limits
from autoshrink.core.measurement import Measurement

HOSTILE = "[red]a[/] [/] :boom: \x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b2J \u202eback\r\b\x7f \ud800"
SHOWN = "[red]a[/] [/] :boom: ␛[31mred␛[0m"


def console(**settings: object) -> tuple[PlainConsole, io.StringIO]:
    written = io.StringIO()
    return PlainConsole(file=written, width=200, **settings), written


def is_plain(text: str) -> bool:
    return all(letter.isprintable() or letter in "\n\t\ufffd" for letter in text)


@pytest.mark.parametrize("soft_wrap", [True, False])
def test_what_is_printed_is_only_text(soft_wrap: bool) -> None:
    to, written = console(soft_wrap=soft_wrap)
    table = Table(title=HOSTILE)
    table.add_column(HOSTILE)
    table.add_row(HOSTILE)
    table.add_row(Text(HOSTILE))
    for item in (HOSTILE, Text(HOSTILE), table):
        to.print(item)
    text = written.getvalue()
    assert is_plain(text)
    assert text.count(SHOWN) == 6


def test_on_a_terminal_only_its_own_sequences_are_sent() -> None:
    to, written = console(force_terminal=True, color_system="truecolor")
    to.print(Text.assemble(("[bold]\x1b[2J", "red")), HOSTILE, highlight=False)
    assert "\x1b[31m[bold]␛[2J\x1b[0m" in written.getvalue()
    assert "\x1b[2J" not in written.getvalue()
    assert "\x1b]" not in written.getvalue()


@pytest.mark.parametrize(
    "words",
    [
        ["search", "[red]x[/].yaml"],
        ["search", "[/]"],
        ["search", "\x1b[31m.yaml"],
        ["measure", "[/].onnx", "--on", "cpu"],
        ["measure", "m.onnx", "--on", "[/]\x1b[2J"],
        ["front", "[/]\x1b[2J"],
        ["front", "../x"],
        ["search", "--resume", "../x"],
        ["search", "t.yaml", "--time", "[/]\x1b[2J"],
        ["apply", "recipe.yaml", "[/]\x1b[2J"],
        ["schema", "[/]\x1b[2J"],
        ["doctor", "--setup", "[/]\x1b[2J"],
    ],
)
def test_a_hostile_name_gives_one_plain_message(words: list[str], tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.onnx").write_bytes(b"x")
    answer = CliRunner().invoke(app, words)
    assert answer.exit_code == 2, answer.output
    assert answer.output.startswith("error: ")
    assert is_plain(answer.output)
    [named] = [word for word in words if "[" in word or "/" in word]
    assert named.replace("\x1b", "") in answer.output.replace("␛", "").replace("\\x1b", "")


def hostile_front() -> Front:
    def item(number: int, steps: list[dict[str, object]], latency: float) -> Candidate:
        return Candidate(
            id=number,
            recipe=Recipe.model_validate({"steps": steps}),
            outcome="measured",
            measurement=Measurement(metrics={"latency": Metric.exact(latency, "s")}),
            accuracy=Accuracy(validation=0.9),
        )

    candidates = [item(0, [], 1e-3), item(1, [{"kind": "low_rank", "rank_ratio": 0.5}], 5e-4)]
    return judge(candidates, ("accuracy", "latency"), Limits(floor=0.5, costs={}, baseline={"latency": 1e-3}))


def test_a_front_with_a_hostile_title_is_printed() -> None:
    to, written = console()
    print_front(to, hostile_front(), title=f"Front of {HOSTILE}", confirmed=True)
    assert SHOWN in written.getvalue()
    assert "2.0×" in written.getvalue()
    assert is_plain(written.getvalue())
