"""Writes a search to MLflow while it runs, beside it: it never slows it and never breaks it.

What could not be sent, because the server was away or the process was killed, is sent at the search's end, or when it
is resumed.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoshrink.core import Candidate, Front, Limits, Target
from autoshrink.tracking.cursor import Cursor
from autoshrink.tracking.ledger import Ledger, outages, quiet
from autoshrink.tracking.models import put_artifact
from autoshrink.tracking.points import BRIEF, brief_of
from autoshrink.tracking.records import record_of, target_params
from autoshrink.tracking.summary import best_of, environment, front_note, front_table, page_note

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Tracker"]

_LONGEST_PAUSE = 60.0


class Tracker:
    """One search's way into MLflow."""

    def __init__(self, folder: Path, target: Target, name: str, uri: str | None = None) -> None:
        """Prepare without touching MLflow.

        Args:
            folder: the search's own; ``tracking.json`` in it says what has been sent.
            target: gives the experiment its name.
            name: the search's, and so its run's.
            uri: MLflow's tracking address; by default the one used before, else MLflow's own default.
        """
        self._folder = folder
        self._target = target
        self._name = name
        self._ledger = Ledger(Cursor.open(folder), target.name, name, uri)
        # As JSON, which takes a tenth of the memory: in an outage everything waits.
        self._waiting: dict[int, str] = {}
        self._inbox: queue.SimpleQueue[tuple[int, str] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._fingerprint: Mapping[str, Any] = {}
        self._tags: dict[str, str] = {}

    def start(self, fingerprint: Mapping[str, Any], baseline: Candidate, limits: Limits) -> None:
        """Begin to send, in the background: the search's run and the original model first."""
        self._fingerprint = fingerprint
        self._tags = {BRIEF: brief_of(self._target, limits, fingerprint, baseline)}
        self.log(baseline)
        self._thread = threading.Thread(target=self._send_all, name="tracking", daemon=True)
        self._thread.start()

    def log(self, candidate: Candidate) -> None:
        """Hand over one finished candidate, or a newer version of it; returns at once."""
        self._inbox.put((candidate.id, candidate.model_dump_json()))

    def finish(
        self,
        front: Front,
        artifacts: Callable[[Candidate], Path],
        plots: list[Path],
        example: Mapping[str, np.ndarray] | None = None,
    ) -> str:
        """Send the standing of every candidate, the models of the front, table, plots, and what is still missing.

        Args:
            front: all candidates, judged.
            artifacts: gives the folder of a candidate's files.
            plots: pictures of the front.
            example: one example's inputs by name, kept with each model.

        Returns:
            Where a person finds the search in MLflow, or why it is not all there and how to send it later.
        """
        if self._thread is not None:
            self._inbox.put(None)
            self._thread.join()
        original = front.judged[0].candidate
        self._tags = {BRIEF: brief_of(self._target, front.limits, self._fingerprint, original)}
        with quiet():
            try:
                self._open()
                for item in front.judged:
                    self._ledger.put(item.candidate.id, record_of(item.candidate, item.state, item.reason))
                models = {
                    member.id: put_artifact(
                        self._ledger, member, artifacts(member), self._target.hardware, example
                    )
                    for member in front.members
                }  # fmt: skip
                self._close(front, models, plots)
            except outages() as error:
                return f"not complete ({_first_line(error)}); 'autoshrink search --resume {self._name}' sends the rest"
        return self._ledger.page()

    def _send_all(self) -> None:
        pause, again_at = 0.0, 0.0
        while True:
            try:
                handed_over = self._inbox.get(timeout=max(again_at - time.monotonic(), 0) if pause else None)
                if handed_over is None:
                    return
                number, record = handed_over
                self._waiting[number] = record
            except queue.Empty:
                pass
            if time.monotonic() < again_at:
                continue
            try:
                self._send_waiting()
                pause = 0.0
            except outages():
                self._ledger.look_again()
                pause = min(max(2 * pause, 1.0), _LONGEST_PAUSE)
                again_at = time.monotonic() + pause

    def _send_waiting(self) -> None:
        with quiet():
            self._open()
            for number in list(self._waiting):
                self._ledger.put(number, record_of(Candidate.model_validate_json(self._waiting[number])))
                del self._waiting[number]

    def _open(self) -> None:
        self._ledger.open(target_params(self._target), self._tags)

    def _close(self, front: Front, models: Mapping[int, str], plots: list[Path]) -> None:
        from mlflow.entities import Metric, RunTag

        client, run = self._ledger.client, self._ledger.parent
        now = time.time_ns() // 1_000_000
        states = [item.state for item in front.judged]
        figures = {"hypervolume": front.hypervolume, "candidates": len(states) - 1, "front": states.count("front")}
        original = front.judged[0].candidate
        figures |= {f"original.{name}": metric.value for name, metric in original.metrics.items()}
        figures |= best_of(front)
        table = front_table(front, models)
        listed = json.dumps([{"path": "front.json", "type": "table"}])
        note = f"{page_note(self._ledger.page_path)}\n\n{front_note(front)}"
        tags = {"mlflow.loggedArtifacts": listed, "mlflow.note.content": note, **self._tags}
        client.log_batch(
            run,
            [Metric(key, float(value), now, 0) for key, value in figures.items()],
            tags=[RunTag(key, value) for key, value in tags.items()],
        )
        client.log_dict(run, table, "front.json")
        client.log_dict(run, dict(self._fingerprint), "hardware.json")
        client.log_text(run, self._target.to_yaml(), "target.yaml")
        client.log_text(run, environment(), "environment.txt")
        for plot in plots:
            client.log_artifact(run, str(plot))
        client.set_terminated(run, "FINISHED")
        self._ledger.cursor.save()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
