"""A search in MLflow: an experiment a target, a parent run a search, a child run a candidate.

Everything here may be repeated: what has arrived is in the cursor, and what arrived without being noted down is found
by its tags. So a run exists once, however often the connection, the server or this process breaks.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlparse

from autoshrink.tracking.cursor import Cursor
from autoshrink.tracking.database import make_whole
from autoshrink.tracking.points import PAGE, page_of
from autoshrink.tracking.records import Record
from autoshrink.tracking.summary import page_note

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["Ledger", "address", "connect", "outages", "quiet"]

_SEARCH, _CANDIDATE, _NOTE = "autoshrink.search", "autoshrink.candidate", "mlflow.note.content"


class Ledger:
    """The search's runs, by candidate id."""

    def __init__(self, cursor: Cursor, experiment: str, name: str, uri: str | None = None) -> None:
        self.cursor = cursor
        self._experiment_name = experiment
        self._name = name
        self._uri = uri
        self._client: MlflowClient | None = None
        self._strays: dict[int, str] | None = None

    @property
    def client(self) -> MlflowClient:
        """MLflow's client, made when it is first needed: importing MLflow takes 1.7 s."""
        if self._client is None:
            uri = address(self._uri, self.cursor.uri)
            if self.cursor.uri != uri:
                self.cursor.restart(uri)  # kept before it is asked: it may be away
            make_whole(uri, lambda place: connect(place).search_experiments(max_results=1))
            self._client = connect(uri)
        return self._client

    @property
    def experiment(self) -> str:
        """The id of the target's experiment."""
        if self.cursor.experiment is None:
            known = self.client.get_experiment_by_name(self._experiment_name)
            self.cursor.experiment = (
                known.experiment_id if known else self.client.create_experiment(self._experiment_name)
            )
        return self.cursor.experiment

    @property
    def parent(self) -> str:
        """The id of the search's run."""
        self.open({}, {})
        assert self.cursor.parent is not None
        return self.cursor.parent

    @property
    def page_path(self) -> str:
        """Where the search's Pareto page is, from the root of MLflow's server."""
        path = urlparse(str(self.cursor.uri)).path.rstrip("/") if str(self.cursor.uri).startswith("http") else ""
        return path + page_of(self.parent)

    def open(self, params: Mapping[str, str], tags: Mapping[str, str], *, running: bool = True) -> str:
        """Find the search's run again, or begin it; gives its id.

        Args:
            params: what the user declared; without any the search's run is only looked for.
            tags: what else its run shall say.
            running: whether the search goes on from here.
        """
        client = self.client
        if self.cursor.parent is not None and self._strays is not None:
            return self.cursor.parent
        if self.cursor.parent is not None and not self._alive(self.cursor.parent):
            self.cursor.restart(str(self.cursor.uri))
        if self.cursor.parent is None:
            self.cursor.save()
            found = client.search_runs([self.experiment], f"tags.`{_SEARCH}` = '{self.cursor.search}'", max_results=1)
            run = found[0] if found else client.create_run(
                self.experiment, run_name=self._name, tags={_SEARCH: self.cursor.search, **_SOURCE}
            )  # fmt: skip
            self.cursor.parent = run.info.run_id
            self.cursor.save()
        elif params and running:
            client.update_run(self.cursor.parent, status="RUNNING")
        self._strays = self._find_children()
        if params:
            self._describe(self.cursor.parent, params, tags)
        for number, entry in list(self.cursor.runs.items()):
            if entry.run not in (None, self._strays.get(number)):  # somebody deleted the run: it is made again
                del self.cursor.runs[number]
        return self.cursor.parent

    def put(self, number: int, record: Record) -> str:
        """Make a candidate's run hold what the record says; gives the run's id."""
        from mlflow.entities import Metric, Param, RunTag

        parent = self.parent
        entry = self.cursor.entry(number)
        if entry.run is None:
            entry.run = (self._strays or {}).get(number) or self._create(parent, number, record)
            self.cursor.note(number)
        tags = [RunTag(key, value) for key, value in record.tags.items()] if entry.tags != record.tags_key else []
        if entry.figures != record.figures_key:
            if entry.intent != record.figures_key:
                entry.intent, entry.at = record.figures_key, max(_now(), entry.at + 1)
                self.cursor.note(number)
            metrics = [Metric(key, value, entry.at, 0) for key, value in record.metrics.items()]
            params = [Param(key, value) for key, value in record.params.items()]
            self.client.log_batch(entry.run, metrics, params, tags)
            self.client.set_terminated(entry.run, record.status, end_time=entry.at)
        elif tags:
            self.client.log_batch(entry.run, tags=tags)
        else:
            return entry.run
        entry.figures, entry.tags = record.figures_key, record.tags_key
        self.cursor.note(number)
        return entry.run

    def look_again(self) -> None:
        """After an outage it is not known what arrived: look for it before anything is sent again."""
        self._strays = None

    def page(self) -> str:
        """Say where a person finds the search."""
        uri = str(self.cursor.uri)
        if uri.startswith(("http://", "https://")):
            return f"{uri.rstrip('/')}/#/experiments/{self.cursor.experiment}/runs/{self.cursor.parent}"
        shown = os.path.relpath(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:////") else ""
        short = f"sqlite:///{shown}" if shown and not shown.startswith("..") else uri
        return f"experiment {self._experiment_name!r}, run {self._name!r} in {short}"

    def _alive(self, run: str) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            return bool(self.client.get_run(run).info.lifecycle_stage == "active")
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise

    def _create(self, parent: str, number: int, record: Record) -> str:
        tags = {"mlflow.parentRunId": parent, _CANDIDATE: str(number), **_SOURCE}
        taken = sum(value for key, value in record.metrics.items() if key.startswith("seconds."))
        run = self.client.create_run(
            self.experiment, start_time=_now() - round(1000 * taken), tags=tags, run_name=record.name
        )
        return str(run.info.run_id)

    def _find_children(self) -> dict[int, str]:
        found: dict[int, str] = {}
        token = None
        wanted = f"tags.`mlflow.parentRunId` = '{self.cursor.parent}'"
        while True:
            page = self.client.search_runs([self.experiment], wanted, max_results=1000, page_token=token)
            found |= {int(run.data.tags[_CANDIDATE]): run.info.run_id for run in page if _CANDIDATE in run.data.tags}
            token = page.token
            if not token:
                return found

    def _describe(self, run: str, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        from mlflow.entities import Param, RunTag

        known = self.client.get_run(run).data
        wanted = {**tags, PAGE: self.page_path}
        wanted |= {_NOTE: page_note(self.page_path)} if _NOTE not in known.tags else {}
        changed = [RunTag(key, value) for key, value in wanted.items() if known.tags.get(key) != value]
        new = [Param(key, value) for key, value in params.items() if key not in known.params]
        if new or changed:
            self.client.log_batch(run, params=new, tags=changed)


_SOURCE = {"mlflow.source.name": "autoshrink", "mlflow.source.type": "LOCAL"}


def address(uri: str | None, before: str | None) -> str:
    """Choose MLflow's address: the one asked for, else the process's, the one used before, MLflow's own default."""
    _be_brief()
    import mlflow

    return uri or (mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else before) or mlflow.get_tracking_uri()


def connect(uri: str) -> MlflowClient:
    """Make a client for an address."""
    _be_brief()
    import mlflow

    return mlflow.MlflowClient(uri, registry_uri=uri)


def outages() -> tuple[type[Exception], ...]:
    """Name what MLflow raises when it can't be reached or refuses what it is sent."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, SQLAlchemyError, OSError


@contextmanager
def quiet() -> Iterator[None]:
    """Keep MLflow's notes about its own workings off the user's screen."""
    import mlflow.store.db.utils  # noqa: F401 - the import sets the levels that are changed here

    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _be_brief() -> None:
    # By default MLflow tries a server that is gone for four minutes, and reports its use to its makers.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # A remark of MLflow's about its own classes, once it is imported.
    warnings.filterwarnings("ignore", message=".*Any type hint is inferred as AnyType", category=UserWarning)


def _now() -> int:
    return time.time_ns() // 1_000_000
