"""Talks to a service: sends targets, follows jobs, fetches what they found. Imports neither torch nor MLflow."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autoshrink.core import AutoshrinkError, DeviceError, SpecError, Target
from autoshrink.core.catalog import is_file

if TYPE_CHECKING:
    from requests import Response

__all__ = ["ENDED", "Client", "Event", "pack"]

ENDED = ("finished", "unmet", "failed", "cancelled")
"""The states in which a job stays."""
_DATA = {"model": ".onnx", "data": ".npz", "weights": ".safetensors"}
_PATIENCE = 60.0
"""Seconds that an answer may take, and that a service may be away while it is followed."""
_PAUSE = 1.0
_TRIES = 3
_MOST_WAIT = 60.0
"""Seconds that are waited when the service says that it is asked too often."""


@dataclass(frozen=True)
class Event:
    """Something that happened to a job: ``state``, ``candidate`` or ``end``."""

    kind: str
    data: Mapping[str, Any]


class Client:
    """A service at an address, and the token that it is asked with."""

    def __init__(self, server: str | None, token: str | None) -> None:
        """Prepare; nothing is asked yet.

        Raises:
            SpecError: the address is missing or none.
        """
        if not server:
            raise SpecError("--server: name the service, such as http://127.0.0.1:8420, or set AUTOSHRINK_SERVER")
        if not server.startswith(("http://", "https://")):
            raise SpecError(f"--server {server}: write its address with http:// or https://")
        self._root = server.rstrip("/").removesuffix("/v1")
        self._token = token

    def submit(self, content: bytes, kind: str, key: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Submit a target.

        Args:
            content: an archive, or a wish as JSON.
            kind: its media type.
            key: the same one gives the same job, however often it is sent.
            settings: ``candidates`` and ``time``, where they are not the target's own.

        Raises:
            AutoshrinkError: as `ask` says.
        """
        headers = {"Content-Type": kind, "Idempotency-Key": key}
        job: dict[str, Any] = self.ask("POST", "/v1/jobs", data=content, headers=headers, params=dict(settings)).json()
        return job

    def ask(self, method: str, path: str, **given: Any) -> Response:
        """Ask for something.

        Raises:
            SpecError: the service says that what was asked is wrong, or not allowed.
            DeviceError: it does not answer, or can't do its work now.
        """
        import requests

        headers = {**given.pop("headers", {}), **({"Authorization": f"Bearer {self._token}"} if self._token else {})}
        for left in range(_TRIES - 1, -1, -1):
            try:
                answer = requests.request(
                    method, self._root + path, headers=headers, timeout=_PATIENCE, allow_redirects=False, **given
                )
            except requests.exceptions.InvalidURL:
                raise SpecError(f"--server {self._root}: is no address") from None
            except requests.RequestException as error:
                raise DeviceError(f"--server {self._root}: does not answer ({_brief(error)})") from None
            if answer.status_code == 429 and left:
                time.sleep(min(_seconds(answer.headers.get("Retry-After", "")), _MOST_WAIT))
                continue
            break
        if answer.ok and not answer.is_redirect:
            return answer
        raise self._refused(answer)

    def follow(self, job: str) -> Iterator[Event]:
        """Follow a job until it has ended, also where the service is started again meanwhile.

        Raises:
            SpecError: there is no such job, or it may not be read.
            DeviceError: the service is away for too long.
        """
        import requests

        place, away = "", 0.0
        while True:
            headers = {"Last-Event-ID": place} if place else {}
            try:
                with self.ask("GET", f"/v1/jobs/{job}/events", headers=headers, stream=True) as stream:
                    for reached, event in _events(stream.iter_lines(chunk_size=1, decode_unicode=True)):
                        place, away = reached, 0.0
                        yield event
                        if event.kind == "end":
                            return
            except (DeviceError, requests.RequestException) as error:
                away = away or time.monotonic()
                if time.monotonic() - away > _PATIENCE:
                    raise DeviceError(f"--server {self._root}: is away ({_brief(error)})") from None
            time.sleep(_PAUSE)

    def _refused(self, answer: Response) -> AutoshrinkError:
        try:
            said = str(answer.json()["detail"])
        except (ValueError, KeyError, TypeError):
            said = f"it answered {answer.status_code} {answer.reason}; is it autoshrink's?"
        if answer.status_code == 401:
            return SpecError(f"--token (or AUTOSHRINK_TOKEN): {said}")
        if 400 <= answer.status_code < 500:
            return SpecError(said)
        return DeviceError(f"--server {self._root}: {said}")


def pack(target: Target) -> bytes:
    """Pack a target with the files that it names, for a service that sees none of them.

    Profile and space travel inside the target.

    Raises:
        SpecError: it names code, or a file that is not there or of another kind.
    """
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        document = target.model_copy(update=_renamed(target))
        archive.writestr("target.yaml", document.to_yaml())
        for field, ending in _DATA.items():
            name: str | None = getattr(target, field)
            if name is None:
                continue
            if not name.endswith(ending):
                raise target.source.error(
                    (field,), f"{name!r} can't be sent: a service is sent data and no code, here a {ending} file; "
                    "on the service's own machine, --project submits the target's path instead"
                )  # fmt: skip
            path = target.path(name)
            if not is_file(path):
                raise target.source.error((field,), f"no file {name!r} (looked for {path})")
            archive.write(path, f"{field}{ending}")
    return content.getvalue()


def _renamed(target: Target) -> dict[str, str]:
    """Name the files as they are called in the archive: their own names may lead anywhere."""
    return {field: f"{field}{ending}" for field, ending in _DATA.items() if getattr(target, field) is not None}


def _events(lines: Iterator[Any]) -> Iterator[tuple[str, Event]]:
    parts: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if name:
            parts[name] = value
        elif {"id", "event", "data"} <= parts.keys():
            yield parts["id"], Event(parts["event"], json.loads(parts["data"]))
            parts = {}


def _seconds(text: str) -> float:
    return float(text) if text.isdigit() else _PAUSE


def _brief(error: Exception) -> str:
    text = str(error)
    for known in ("Connection refused", "Name or service not known", "timed out", "Connection aborted", "certificate"):
        if known in text:
            return known.lower()
    return text.partition("\n")[0][:200]
