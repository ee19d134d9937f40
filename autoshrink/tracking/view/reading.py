"""Reads searches from the tables of MLflow's store, thousands of candidates in one query.

MLflow's own search of runs takes seconds for what is read here in a tenth of one. Whoever calls this has asked MLflow
whether the reader may see it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from autoshrink.core import AutoshrinkError
from autoshrink.tracking.points import BRIEF, MODEL, POINT

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["Found", "Standing", "candidates", "searches", "standing"]

_PARENT = "mlflow.parentRunId"
T = TypeVar("T")
_TOGETHER = 500
"""Values in one condition: below the limit of every database."""


@dataclass(frozen=True)
class Standing:
    """How far a search's record is: when any of it changes, there is something new."""

    status: str
    count: int
    latest: int
    """When the last candidate's figures arrived: ms since 1970, by the clock of the machine that searched."""


@dataclass(frozen=True)
class Found:
    """Candidates of a search, in no order."""

    runs: list[str]
    ended: list[int]
    """When each one's figures arrived, ms since 1970."""
    models: list[str]
    """Where MLflow keeps each one's files; empty where it has none."""
    points: list[str]
    """JSON, as `autoshrink.tracking.points.point_of` writes it; checked to be an object with an id."""


def searches(experiments: Sequence[str]) -> list[dict[str, Any]]:
    """Read the runs of all searches in some experiments, the latest first.

    Args:
        experiments: their ids.

    Returns:
        For each search: run, experiment, name, status, start and end in ms, ``brief`` and metrics.
    """
    from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlRun, SqlTag
    from sqlalchemy import select

    found: dict[str, dict[str, Any]] = {}
    with _session() as session:
        for ids in _parts([int(experiment) for experiment in experiments]):  # numbers in the tables
            wanted = (
                select(SqlRun.run_uuid, SqlRun.experiment_id, SqlRun.name, SqlRun.status, SqlRun.start_time,
                       SqlRun.end_time, SqlTag.value)
                .join(SqlTag, SqlTag.run_uuid == SqlRun.run_uuid)
                .where(SqlTag.key == BRIEF, SqlRun.experiment_id.in_(ids), SqlRun.lifecycle_stage == "active")
            )  # fmt: skip
            for run, experiment, name, status, start, end, brief in session.execute(wanted):
                if (read := _object(brief, "limits")) is not None:
                    found[run] = {
                        "run": run, "experiment": str(experiment), "name": name, "status": status, "start": start,
                        "end": end, "brief": read, "metrics": {},
                    }  # fmt: skip
        for runs in _parts(list(found)):
            figures = select(SqlLatestMetric.run_uuid, SqlLatestMetric.key, SqlLatestMetric.value).where(
                SqlLatestMetric.run_uuid.in_(runs), SqlLatestMetric.is_nan.is_(False)
            )
            for run, key, value in session.execute(figures):
                found[run]["metrics"][key] = value
    return sorted(found.values(), key=lambda search: -(search["start"] or 0))


def standing(search: str) -> Standing:
    """Say how far a search's record is.

    Args:
        search: the id of its run.
    """
    from mlflow.store.tracking.dbmodels.models import SqlRun, SqlTag
    from sqlalchemy import func, select

    with _session() as session:
        status = session.execute(select(SqlRun.status).where(SqlRun.run_uuid == search)).scalar()
        children = (
            select(func.count(), func.max(SqlRun.end_time))
            .join(SqlTag, SqlTag.run_uuid == SqlRun.run_uuid)
            .where(SqlTag.key == _PARENT, SqlTag.value == search, SqlRun.lifecycle_stage == "active")
        )
        count, latest = session.execute(children).one()
    return Standing(str(status or ""), int(count), int(latest or 0))


def candidates(search: str, since: int = 0) -> Found:
    """Read the candidates of a search.

    Args:
        search: the id of its run.
        since: only those whose figures arrived then or later, ms since 1970.
    """
    from mlflow.store.tracking.dbmodels.models import SqlRun, SqlTag
    from sqlalchemy import and_, select
    from sqlalchemy.orm import aliased

    point, model = aliased(SqlTag), aliased(SqlTag)
    wanted = (
        select(SqlRun.run_uuid, SqlRun.end_time, model.value, point.value)
        .select_from(SqlTag)
        .join(SqlRun, SqlRun.run_uuid == SqlTag.run_uuid)
        .join(point, and_(point.run_uuid == SqlRun.run_uuid, point.key == POINT))
        .outerjoin(model, and_(model.run_uuid == SqlRun.run_uuid, model.key == MODEL))
        .where(SqlTag.key == _PARENT, SqlTag.value == search, SqlRun.lifecycle_stage == "active")
    )
    if since:
        wanted = wanted.where(SqlRun.end_time >= since)
    with _session() as session:
        rows = session.execute(wanted).all()
    rows = [row for row in rows if _object(row[3], "id") is not None]
    return Found(
        runs=[row[0] for row in rows],
        ended=[row[1] or 0 for row in rows],
        models=[row[2] or "" for row in rows],
        points=[row[3] for row in rows],
    )


def _session() -> AbstractContextManager[Any]:
    from mlflow.server.handlers import _get_tracking_store

    store = _get_tracking_store()
    if not hasattr(store, "ManagedSessionMaker"):
        raise AutoshrinkError(
            "the Pareto view reads databases (SQLite, PostgreSQL, …); this server keeps runs in files"
        )
    session: AbstractContextManager[Any] = store.ManagedSessionMaker()
    return session


def _object(text: str, key: str) -> dict[str, Any] | None:
    """Read JSON that anybody who may write to MLflow may have written."""
    try:
        read = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) and key in read else None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON, and a browser refuses everything around it")


def _parts(items: Sequence[T]) -> list[Sequence[T]]:
    return [items[start : start + _TOGETHER] for start in range(0, len(items), _TOGETHER)]
