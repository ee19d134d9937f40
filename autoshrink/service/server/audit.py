"""The audit log: who did what to which job, when, from where, and what came of it.

Everything that changes something is in it, and every denial. It is kept twice: in the database, where it can be asked
for, and as lines of JSON in a file, which can be taken elsewhere. Neither holds a secret.
"""

from __future__ import annotations

import json
import logging
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from autoshrink.service.server.database import Database, audit

__all__ = ["Audit", "moment"]

_log = logging.getLogger(__name__)


def moment(seconds: float | None) -> str | None:
    """Write a time as ISO 8601 has it."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


class Audit:
    """Writes the log and reads it."""

    def __init__(self, database: Database, file: Path) -> None:
        self._database = database
        self._file = file

    def write(self, who: str, action: str, job: str | None, address: str, outcome: str) -> None:
        """Keep one entry; where one of the places can't be written, the other has it, and the log says so."""
        row = {"at": time.time(), "who": who, "action": action, "job": job, "address": address, "outcome": outcome}
        line = json.dumps({**row, "at": moment(row["at"])}) + "\n"  # type: ignore[arg-type]
        try:
            descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(descriptor, line.encode())
            finally:
                os.close(descriptor)
            with self._database.write() as connection:
                connection.execute(audit.insert().values(row))
        except (OSError, SQLAlchemyError) as error:
            _log.warning("the audit log can't be written: %s: %s", line.strip(), error)

    def latest(self, limit: int) -> list[dict[str, Any]]:
        """Read the last entries, the newest first."""
        columns = [column for column in audit.c if column.name != "number"]
        with self._database.read() as connection:
            rows = connection.execute(select(*columns).order_by(audit.c.number.desc()).limit(limit))
            return [{**row._mapping, "at": moment(row._mapping["at"])} for row in rows]
