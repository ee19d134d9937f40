"""The service's OpenAPI document, and requests of all kinds that are drawn from it: none of them ends in a 5xx."""

from __future__ import annotations

import collections
from pathlib import Path
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from serving import serving

EACH = 30
"""Requests of each route that are drawn."""


def test_no_request_that_the_document_describes_breaks_the_service(tmp_path: Path) -> None:
    with serving(tmp_path, "--requests", "1000000", "--submissions", "1000000") as service:
        ended = service.upload().json()["id"]
        service.ask("POST", f"/v1/jobs/{ended}/cancel")
        service.wait_for(ended, "cancelled", "failed")
        described = schemathesis.openapi.from_dict(service.ask("GET", "/openapi.json").json())
        operations = [found.ok() for found in described.get_all_operations()]
        answers: dict[str, collections.Counter[int]] = collections.defaultdict(collections.Counter)

        def ask(case: Any) -> None:
            tokens = {"Authorization": f"Bearer {service.tokens['admin']}"}
            answer: requests.Response = case.call(base_url=service.root, headers=tokens, timeout=30)
            answers[case.operation.label][answer.status_code] += 1
            assert answer.status_code < 500, (case.operation.label, answer.request.url, answer.text)

        for operation in operations:

            @settings(
                max_examples=EACH,
                derandomize=True,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy())
            def drawn(case: Any) -> None:
                ask(case)
                if "job" in (case.path_parameters or {}):  # and about a job that there is
                    case.path_parameters = {**case.path_parameters, "job": ended}
                    ask(case)

            drawn()
        assert len(operations) == sum(len(methods) for methods in described.raw_schema["paths"].values()) > 15
        assert all(answers[operation.label].total() for operation in operations)
        asked = sum((counter for counter in answers.values()), collections.Counter[int]())
        assert {200, 404, 422} <= set(asked), "what is right, what is not there and what is wrong: all of it was asked"
        assert service.ask("GET", "/readyz").status_code == 200
