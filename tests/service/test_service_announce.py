"""A webhook is told once, is asked again when it is busy, and is nothing but HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from webhooks import Receiver

from autoshrink.core import SpecError
from autoshrink.service import announce
from autoshrink.service.announce import check_webhook, post

EVENT = {"event": "reoptimized", "id": "a1b2", "target": "digits", "reasons": ["profile.threads: 1 → 4"]}


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setattr(announce, "_PAUSES", (0.01, 0.01, 0.01))
    server = Receiver()
    yield server
    server.close()


def test_a_document_arrives_once_with_its_id(receiver: Receiver) -> None:
    assert post(receiver.url, EVENT) == ""
    assert receiver.posted == [EVENT]
    assert receiver.paths == ["/hook/secret"]
    assert receiver.headers[0]["Idempotency-Key"] == "a1b2"
    assert receiver.headers[0]["Content-Type"] == "application/json"


def test_one_that_is_busy_is_asked_again(receiver: Receiver) -> None:
    receiver.answers = [(503, {}), (429, {}), (200, {})]
    assert post(receiver.url, EVENT) == ""
    assert receiver.posted == [EVENT] * 3


@pytest.mark.parametrize(("answers", "attempts"), [([(404, {})], 1), ([(500, {})] * 4, 4)])
def test_one_that_refuses_is_named_without_its_secret(
    receiver: Receiver, answers: list[tuple[int, dict[str, str]]], attempts: int
) -> None:
    code = answers[0][0]
    receiver.answers = answers
    said = post(receiver.url, EVENT)
    assert said == f"the webhook at 127.0.0.1 answered {code}"
    assert len(receiver.posted) == attempts


def test_no_redirection_is_followed(receiver: Receiver, tmp_path: Path) -> None:
    receiver.answers = [(302, {"Location": f"file://{tmp_path}/x"})]
    assert post(receiver.url, EVENT) == "the webhook at 127.0.0.1 answered 302"
    receiver.answers = [(307, {"Location": receiver.url.replace("hook", "elsewhere")})]
    assert post(receiver.url, EVENT) == "the webhook at 127.0.0.1 answered 307"
    assert receiver.paths == ["/hook/secret"] * 2


def test_one_that_is_away_is_named(receiver: Receiver) -> None:
    receiver.close()
    assert post(receiver.url, EVENT).startswith("the webhook at 127.0.0.1 can't be reached: ")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/x", "host/x", "http://", "javascript:alert(1)"])
def test_only_the_web_is_told(url: str) -> None:
    with pytest.raises(SpecError, match="--webhook: write an http"):
        check_webhook(url)
