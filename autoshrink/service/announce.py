"""Tells of a re-optimisation: the log of whoever watches, MLflow, and a webhook, each once."""

from __future__ import annotations

import datetime
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from autoshrink.core import SpecError, Target
from autoshrink.search.lineage import Reoptimization, searches_of
from autoshrink.search.store import Store
from autoshrink.tracking.events import log_event

__all__ = ["announce", "check_webhook", "post"]

_FILE = "announced.json"
_PAUSES = (1.0, 4.0, 16.0)
"""Seconds between the attempts of one visit; the next visit tries again."""
_TIMEOUT = 15.0
_TOO_OLD = datetime.timedelta(days=7)
"""What could not be told for so long is no news."""
_BUSY = (408, 425, 429)


def check_webhook(url: str) -> str:
    """Check that an address is one of the web.

    Raises:
        SpecError: it is not ``http://`` or ``https://`` with a host.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SpecError(f"--webhook: write an http:// or https:// address, not {url!r}")
    return url


def announce(root: Path, target: Target, webhook: str | None = None, uri: str | None = None) -> list[str]:
    """Tell what of a target's re-optimisations was not told yet.

    A crash between the receiver's answer and our note of it repeats a message: its ``id`` says that it is the same.

    Args:
        root: the folder that holds all searches.
        target: whose.
        webhook: where a JSON document is posted to.
        uri: MLflow's tracking address.

    Returns:
        Why something could not be told, one line each; it is tried again at the next call.
    """
    failures: list[str] = []
    for store in reversed(searches_of(root, target)):
        begun = Reoptimization.of(store)
        if begun is None or begun.outcome is None or _old(begun.outcome):
            continue
        told: dict[str, str] = store.read_json(_FILE) or {}
        if "mlflow" not in told:
            _note(store, told, "mlflow", log_event(store.folder, store.target(), begun.outcome, uri), failures)
        if webhook is not None and "webhook" not in told:
            _note(store, told, "webhook", post(webhook, begun.outcome), failures)
    return failures


def post(url: str, document: Mapping[str, Any]) -> str:
    """Post a JSON document; a server that is away or busy is asked again a few times.

    Args:
        url: as `check_webhook` takes it; redirections are not followed.
        document: what to send; its ``id`` goes along as ``Idempotency-Key``.

    Returns:
        Why it did not arrive; empty when it did.
    """
    host = urlsplit(url).hostname  # the rest of the address may be a secret
    headers = {"Content-Type": "application/json", "User-Agent": "autoshrink", "Idempotency-Key": str(document["id"])}
    request = urllib.request.Request(url, json.dumps(document).encode(), headers, method="POST")
    reason = ""
    for pause in (*_PAUSES, None):
        try:
            with _opener().open(request, timeout=_TIMEOUT):
                return ""
        except urllib.error.HTTPError as error:
            reason = f"the webhook at {host} answered {error.code}"
            error.close()
            if error.code < 500 and error.code not in _BUSY:
                return reason
        except OSError as error:
            reason = f"the webhook at {host} can't be reached: {getattr(error, 'reason', error)}"
        if pause is not None:
            time.sleep(pause)
    return reason


def _opener() -> urllib.request.OpenerDirector:
    """Speak HTTP and nothing else: urllib's own would open files, and go wherever an answer sends it."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _note(store: Store, told: dict[str, str], channel: str, failure: str, failures: list[str]) -> None:
    if failure:
        failures.append(f"{store.name}: {failure}")
        return
    told[channel] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    store.write_json(_FILE, told)


def _old(event: Mapping[str, Any]) -> bool:
    return datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(event["at"]) > _TOO_OLD
