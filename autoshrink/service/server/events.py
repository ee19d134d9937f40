"""What happens to jobs, as server-sent events.

One poller looks for all followers: at the states of the jobs that are followed, by one query, and at what was added to
their candidates. A follower is a coroutine that waits for it, and so costs next to nothing.
"""

from __future__ import annotations

import asyncio
import bisect
import json
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from autoshrink.service.server.queue import ENDED, Job, Queue

__all__ = ["Feeds"]

_EVERY = 0.5
_HEARTBEAT = 15.0
"""Seconds after which a silent stream says that it is still there."""


@dataclass
class _Feed:
    """What is known of one job: its state, and each candidate's record with the place in the file where it ends."""

    followers: int = 0
    job: Job | None = None
    ends: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    size: int = 0
    woken: asyncio.Event = field(default_factory=asyncio.Event)


class Feeds:
    """The jobs that are followed."""

    def __init__(self, queue: Queue, root: Path) -> None:
        self._queue = queue
        self._root = root
        self._feeds: dict[str, _Feed] = {}
        self._lock = threading.Lock()
        self._stopping = False

    @property
    def followers(self) -> int:
        """How many streams are open."""
        return sum(feed.followers for feed in self._feeds.values())

    def stop(self) -> None:
        """Have all streams end."""
        self._stopping = True

    async def run(self) -> None:
        """Look for all followers, until this is cancelled."""
        while True:
            await asyncio.sleep(_EVERY)
            if self._feeds:
                await run_in_threadpool(self._look, dict(self._feeds))
            for feed in self._feeds.values():
                woken, feed.woken = feed.woken, asyncio.Event()
                woken.set()

    async def follow(self, job: str, place: int, allowed: Callable[[], bool]) -> AsyncIterator[str]:
        """Tell what happens to a job until it has ended.

        Args:
            job: one that is there.
            place: where in the file of its candidates the last one ends that is known already.
            allowed: is asked now and then whether the follower may still read.
        """
        feed = self._feeds.setdefault(job, _Feed())
        feed.followers += 1
        try:
            if feed.job is None:
                await run_in_threadpool(self._look, {job: feed})
            async for text in self._told(feed, place, allowed):
                yield text
        finally:
            feed.followers -= 1
            if not feed.followers:
                self._feeds.pop(job, None)

    async def _told(self, feed: _Feed, place: int, allowed: Callable[[], bool]) -> AsyncIterator[str]:
        told: dict[str, Any] | None = None
        silent = 0.0
        index = bisect.bisect_right(feed.ends, place)
        while not self._stopping:
            woken, job = feed.woken, feed.job
            ended = job is not None and job.state in ENDED
            if not ended and job is not None and (state := _state(job)) != told:
                told, silent = state, 0.0
                yield _event("state", json.dumps(state), place)
            while index < len(feed.ends):  # more may come while one is sent
                place, text = feed.ends[index], feed.texts[index]
                index, silent = index + 1, 0.0
                yield _event("candidate", text, place)
            if ended and job is not None:
                yield _event("state", json.dumps(_state(job)), place)
                yield _event("end", json.dumps(_state(job) | {"reason": job.reason}), place)
                return
            await woken.wait()
            silent += _EVERY
            if silent >= _HEARTBEAT:
                if not await run_in_threadpool(allowed):
                    return
                silent = 0.0
                yield ": still here\n\n"

    def _look(self, feeds: dict[str, _Feed]) -> None:
        with self._lock:
            try:
                jobs = self._queue.several(feeds)
            except SQLAlchemyError:
                return  # the next look may find it answering again
            for name, feed in feeds.items():
                self._read(self._root / name / "candidates.jsonl", feed)
                feed.job = jobs.get(name)

    @staticmethod
    def _read(path: Path, feed: _Feed) -> None:
        try:
            with path.open("rb") as file:
                file.seek(feed.size)
                content = file.read()
        except OSError:
            return  # there is none yet
        for line in content[: content.rfind(b"\n") + 1].splitlines(keepends=True):
            feed.size += len(line)
            try:
                text = json.dumps(_brief(json.loads(line)))
            except (ValueError, KeyError, TypeError):
                continue  # a damaged record is told to who asks for the front
            feed.texts.append(text)
            feed.ends.append(feed.size)


def _state(job: Job) -> dict[str, Any]:
    return {"id": job.id, "state": job.state.value, "tries": job.tries, "code": job.code}


def _brief(record: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": record["id"],
        "outcome": record["outcome"],
        "reason": record.get("reason", "").strip().rpartition("\n")[2],
        "recipe": record["recipe"],
        "metrics": record.get("measurement", {}).get("metrics", {}),
        "accuracy": record.get("accuracy", {}),
        "seconds": record.get("seconds", {}),
    }


def _event(kind: str, data: str, place: int) -> str:
    return f"id: {place}\nevent: {kind}\ndata: {data}\n\n"
