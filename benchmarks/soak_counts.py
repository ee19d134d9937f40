"""What the soak counts in the end: in the store, in the study, in MLflow and with the service."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING

import mlflow
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from autoshrink.search.store import Store

if TYPE_CHECKING:
    from soak import Soak

__all__ = ["checks"]


def checks(soak: Soak, kills: int) -> dict[str, tuple[bool, str]]:
    """Count what is there in the end."""
    shown = soak.ask("GET", f"/v1/jobs/{soak.job}")
    jobs = soak.ask("GET", "/v1/jobs")["jobs"]
    front = soak.ask("GET", f"/v1/jobs/{soak.job}/front")
    store = Store(soak.store / soak.job)
    candidates = store.candidates()
    ids = [candidate.id for candidate in candidates]
    numbers = {(record.id, record.key) for record in store.records()}
    keys = collections.Counter(candidate.key for candidate in candidates)
    files = [store.artifact_folder(store.candidate(number)) / "model.onnx" for number in front["front"]]
    studied, (parents, runs) = _told(soak), _tracked(soak)
    twice = [number for number, count in studied.items() if count > 1]
    unknown = set(studied) - set(ids)
    kinds = collections.Counter(soak.killed)
    failed = collections.Counter(candidate.outcome for candidate in candidates)
    wrong = {number: runs[number] for number in set(ids) | set(runs) if runs[number] != 1}
    return {
        f"at least {kills} kills": (
            len(soak.killed) >= kills,
            ", ".join(f"{count} of the {kind}" for kind, count in sorted(kinds.items())),
        ),
        "the search came to its end": (shown["state"] == "finished" and shown["code"] == 0, shown["state"]),
        "the job is there once": (len(jobs) == 1, f"{len(jobs)}; resumed by request {soak.resumed} times"),
        "there is a front": (bool(front["front"]), f"{len(front['front'])} candidates"),
        "all candidates were tried": (
            len(ids) - 1 >= soak.candidates,
            f"{len(ids) - 1}: " + ", ".join(f"{count} {outcome}" for outcome, count in sorted(failed.items())),
        ),
        # Numbers may be missing: what was under way when the driver was killed is begun again with a new one.
        "a recipe for each number": (len(numbers) == len(ids), f"{len(ids)} numbers, up to {ids[-1]}"),
        "no recipe twice": (max(keys.values()) == 1, f"{len(keys)} recipes"),
        "what was seen finished is there": (set(soak.seen) <= set(ids), f"{len(soak.seen)} were seen"),
        "in the study once": (
            bool(studied) and not twice and not unknown,
            f"{studied.total()} trials; twice: {twice or 'none'}",
        ),
        "in MLflow once": (not wrong, f"{runs.total()} runs; wrong: {wrong or 'none'}"),
        "one run of the search": (parents == 1, str(parents)),
        "the front's files are there": (all(file.is_file() for file in files), f"{len(files)} models"),
    }


def _told(soak: Soak) -> collections.Counter[int]:
    """Count how often the study was told of each candidate, but for what it suggested again by itself."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = JournalStorage(JournalFileBackend(str(soak.store / soak.job / "study.journal")))
    study = optuna.load_study(study_name=soak.job, storage=storage)
    notes = [trial.user_attrs for trial in study.get_trials(deepcopy=False)]
    return collections.Counter(note["candidate"] for note in notes if "again" not in note)


def _tracked(soak: Soak) -> tuple[int, collections.Counter[int]]:
    """Count the runs of MLflow: the search's own, and by candidate."""
    client = mlflow.MlflowClient(soak.mlflow)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs, token = [], None
    while True:
        page = client.search_runs(experiments, max_results=1000, page_token=token)
        runs += page
        if not (token := page.token):
            break
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    counted = collections.Counter(int(run.data.tags["autoshrink.candidate"]) for run in children)
    return len(runs) - len(children), counted
