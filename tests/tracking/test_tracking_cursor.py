"""The cursor: what was noted down is there after a crash, and what is about another MLflow is not."""

from __future__ import annotations

from pathlib import Path

from autoshrink.tracking.cursor import Cursor, Entry


def noted(folder: Path, parent: str, runs: dict[int, str]) -> Cursor:
    cursor = Cursor.open(folder)
    cursor.parent = parent
    for number, run in runs.items():
        cursor.entry(number).run = run
        cursor.note(number)
    return cursor


def test_notes_count_without_everything_being_written(tmp_path: Path) -> None:
    Cursor.open(tmp_path).restart("sqlite://")
    cursor = noted(tmp_path, "p", {})
    cursor.save()
    noted(tmp_path, "p", {1: "a", 2: "b"})
    noted(tmp_path, "p", {2: "c"})
    assert Cursor.open(tmp_path).runs == {1: Entry(run="a"), 2: Entry(run="c")}


def test_a_torn_note_costs_that_note(tmp_path: Path) -> None:
    noted(tmp_path, "p", {}).save()
    noted(tmp_path, "p", {1: "a", 2: "b"})
    notes = tmp_path / "tracking.jsonl"
    notes.write_bytes(notes.read_bytes()[:-9])
    noted(tmp_path, "p", {3: "c"})
    assert Cursor.open(tmp_path).runs == {1: Entry(run="a"), 3: Entry(run="c")}


def test_a_note_about_another_mlflow_is_passed_over(tmp_path: Path) -> None:
    cursor = noted(tmp_path, "p", {1: "a"})
    cursor.save()
    noted(tmp_path, "p", {2: "b"})
    kept = (tmp_path / "tracking.jsonl").read_bytes()
    Cursor.open(tmp_path).restart("sqlite://other")
    (tmp_path / "tracking.jsonl").write_bytes(kept)  # as if killed between the one and the other
    assert Cursor.open(tmp_path).runs == {}
