"""The commands of the service's clients: submit a target, look at jobs, fetch what they found."""

from __future__ import annotations

import io
import json as documents
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from autoshrink.console.given import parse_option, write_json
from autoshrink.console.printing import plain_console
from autoshrink.core import COSTS, AutoshrinkError, SpecError, Target, show_quantity
from autoshrink.core.archives import BadArchiveError, unpack
from autoshrink.service.client import ENDED, Client, pack

__all__ = ["status", "submit"]

_CODES = {"finished": 0, "unmet": 3, "cancelled": 130}
_SHOWN = 50
_MOST = 8 * 2**30
"""Bytes of a candidate's files."""


def submit(
    path: Path,
    *,
    server: str | None,
    token: str | None,
    candidates: int | None,
    time: str | None,
    project: bool,
    follow: bool,
    json: Path | None,
) -> int:
    """Submit a target, and follow its job where that is wished."""
    client = Client(server, token)
    if time is not None:
        parse_option("--time", time)  # said here, before anything is sent
    target = Target.read(path)
    settings = {name: value for name, value in (("candidates", candidates), ("time", time)) if value is not None}
    if project:
        content, kind = documents.dumps({"target": str(path.resolve())}).encode(), "application/json"
    else:
        content, kind = pack(target), "application/zip"
    job = client.submit(content, kind, secrets.token_hex(16), settings)
    console = plain_console(json)
    console.print(f"Submitted {target.name} as {job['id']}; 'autoshrink status {job['id']}' shows it", highlight=False)
    if follow:
        return _followed(client, job["id"], console, json)
    write_json(job, json)
    return 0


def status(
    job: str | None,
    *,
    server: str | None,
    token: str | None,
    cancel: bool,
    resume: bool,
    follow: bool,
    fetch: Path | None,
    candidate: int | None,
    json: Path | None,
) -> int:
    """Show jobs, or do something with one."""
    client, console = Client(server, token), plain_console(json)
    if job is None:
        if cancel or resume or follow or fetch is not None:
            raise SpecError("status: name the job, such as j0123456789ab")
        page = client.ask("GET", f"/v1/jobs?limit={_SHOWN}").json()
        console.print(_jobs_table(page["jobs"]))
        if page["next"] is not None:
            console.print(f"The latest {_SHOWN}; there are older ones", style="dim")
        write_json(page, json)
        return 0
    if cancel and resume:
        raise SpecError("--cancel and --resume: one of the two")
    if cancel or resume:
        shown = client.ask("POST", f"/v1/jobs/{job}/{'cancel' if cancel else 'resume'}").json()
        console.print(f"{job} is {shown['state']}", highlight=False)
    if follow:
        return _followed(client, job, console, json)
    if fetch is not None:
        return _fetch(client, job, fetch, candidate, console)
    shown = client.ask("GET", f"/v1/jobs/{job}").json()
    console.print(_jobs_table([shown]))
    if shown["reason"]:
        console.print(shown["reason"], highlight=False, soft_wrap=True)
    document = _front(client, job, shown)
    if document is not None:
        console.print(_front_table(document))
    write_json({**shown, "result": document}, json)
    return 0


def _followed(client: Client, job: str, console: Console, json: Path | None) -> int:
    try:
        for event in client.follow(job):
            if event.kind == "candidate":
                console.print(_line(event.data), highlight=False, soft_wrap=True)
            elif event.kind == "state":
                console.print(f"{job} is {event.data['state']}", highlight=False)
            if event.kind == "end" and event.data["reason"]:
                console.print(event.data["reason"], highlight=False, soft_wrap=True)
    except KeyboardInterrupt:
        console.print(f"\n{job} goes on; 'autoshrink status {job} --cancel' ends it", highlight=False)
        return 130
    shown = client.ask("GET", f"/v1/jobs/{job}").json()
    document = _front(client, job, shown)
    if document is not None:
        console.print(_front_table(document))
    write_json(document or shown, json)
    return _CODES.get(shown["state"], shown["code"] or 1)


def _fetch(client: Client, job: str, folder: Path, candidate: int | None, console: Console) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        taken = any(folder.iterdir())
    except OSError as error:
        raise SpecError(f"--fetch {folder}: {error.strerror}") from None
    if taken:
        raise SpecError(f"--fetch {folder}: is not empty: name another folder")
    if candidate is None:
        candidate = client.ask("POST", f"/v1/jobs/{job}/pick", json={}).json()["candidate"]
    content = client.ask("GET", f"/v1/jobs/{job}/artifacts/{candidate}").content
    try:
        files = unpack(io.BytesIO(content), folder, _MOST)
    except BadArchiveError as error:
        raise AutoshrinkError(f"what the service sent can't be unpacked: it {error}") from None
    console.print(f"Candidate {candidate} of {job}: {', '.join(file.name for file in files)} in {folder}/")
    return 0


def _front(client: Client, job: str, shown: Mapping[str, Any]) -> dict[str, Any] | None:
    """Ask for the front of a job that may have one."""
    if not (shown.get("progress") or {}).get("front") and shown["state"] not in ENDED[:2]:
        return None
    document: dict[str, Any] = client.ask("GET", f"/v1/jobs/{job}/front").json()
    return document


def _jobs_table(jobs: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    told = any(job.get("progress") for job in jobs)  # of one job: for a list no search is read
    for heading in ("job", "target", "state", "by", "submitted", *(["candidates"] if told else [])):
        table.add_column(heading)
    for job in jobs:
        progress = job.get("progress")
        tried = [f"{progress['finished']} of {progress['wanted']}"] if progress else []
        table.add_row(job["id"], job["name"], job["state"], job["by"], job["submitted"], *tried)
    return table


def _front_table(document: Mapping[str, Any]) -> Table:
    members = {member["id"]: member for member in document["candidates"]}
    costs = [name for name in COSTS if name in members[0]["metrics"]]
    table = Table(title="The front, the original first", title_justify="left", box=None, pad_edge=False)
    table.add_column("id", justify="right")
    table.add_column("accuracy", justify="right")
    for name in costs:
        table.add_column(name, justify="right")
    table.add_column("recipe", overflow="fold")
    for number in (0, *(number for number in document["front"] if number)):
        member = members[number]
        table.add_row(str(number), _accuracy(member), *(_cost(member, name) for name in costs), _recipe(member))
    return table


def _line(candidate: Mapping[str, Any]) -> str:
    figures = ", ".join(_cost(candidate, name) for name in COSTS if name in candidate["metrics"])
    why = f": {candidate['reason']}" if candidate["reason"] else ""
    return f"{candidate['id']:4} {candidate['outcome']}{why}  {_accuracy(candidate)}  {figures}  {_recipe(candidate)}"


def _accuracy(candidate: Mapping[str, Any]) -> str:
    scores = candidate["accuracy"]
    score = scores.get("test") if scores.get("test") is not None else scores.get("validation")
    return "?" if score is None else f"{score:.2%}" if 0 <= score <= 1 else f"{score:.4g}"


def _cost(candidate: Mapping[str, Any], name: str) -> str:
    metric = candidate["metrics"].get(name)
    if metric is None:
        return "?"
    return f"{'~' if metric['origin'] == 'modelled' else ''}{show_quantity(metric['value'], metric['unit'])}"


def _recipe(candidate: Mapping[str, Any]) -> str:
    steps = candidate["recipe"]["steps"]
    return " → ".join(step["kind"] for step in steps) or "the original model"
