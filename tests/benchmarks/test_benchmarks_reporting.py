import json
import math
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def reporting(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import reporting

    return reporting


def test_a_document_says_what_was_run_where_and_when(reporting, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(BENCHMARKS / "some.py"), "--quick", "a b"])
    monkeypatch.chdir(BENCHMARKS.parent)
    path = reporting.write_json("some", {"ratio": 1.5}, tmp_path / "new")
    document = json.loads(path.read_text())
    assert path.name == "some.json"
    assert document["ratio"] == 1.5
    assert document["command"] == "python benchmarks/some.py --quick 'a b'"
    assert int(document["machine"]["cores"]) >= 1
    assert document["machine"]["processor"]
    assert {"torch", "onnxruntime"} <= set(document["machine"]["versions"])


def test_a_figure_that_is_no_number_is_an_error(reporting, tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        reporting.write_json("some", {"ratio": math.nan}, tmp_path)


def test_tables_and_pictures(reporting, tmp_path, capsys):
    reporting.print_table("Widths", ["model", "latency"], [["[bold]", "3 µs"], ["16", "5 µs"]], note="[quiet]")
    printed = capsys.readouterr().out
    assert "3 µs" in printed
    assert "[bold]" in printed
    assert "[quiet]" in printed
    with reporting.picture("some", "Two", 2, tmp_path) as panels:
        for panel in panels:
            panel.plot([1, 2], [3, 4])
    assert (tmp_path / "some.png").read_bytes().startswith(b"\x89PNG")
