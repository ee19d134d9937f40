"""Results that outlive their search: another budget for the same model begins with what is known to be good."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

from autoshrink.core import Candidate, Limits, Target, judge
from autoshrink.core.documents import Frozen
from autoshrink.core.recipe import Scalar
from autoshrink.search.cache import Cache

__all__ = ["Result", "best_results", "keep_result"]

_KIND = "results"
_MOST = 1000
"""Of the latest results so many are looked at."""


class Result(Frozen):
    """What an earlier search measured, and what the sampler has to choose for its recipe."""

    place: str
    """The fingerprint's key of the device that it was measured on."""
    params: dict[str, Scalar]
    candidate: Candidate


def keep_result(cache: Cache, place: str, params: Mapping[str, Scalar], candidate: Candidate) -> None:
    """Keep a candidate that was measured; what the test split said of it stays behind."""
    if candidate.outcome == "measured":
        result = Result(place=place, params=dict(params), candidate=candidate)
        cache.keep(_KIND, f"{place}-{candidate.key}.json", result.model_dump_json().encode())


def best_results(cache: Cache, place: str, limits: Limits, target: Target) -> list[Result]:
    """Choose what to begin with: what was measured on this device and keeps the limits, front after front.

    No more than half of the candidates that are wanted, so that the search still looks for what nobody tried.
    """
    keys = islice((key for key in cache.keys(_KIND) if key.startswith(f"{place}-")), _MOST)
    kept = [Result.model_validate_json(content) for key in keys if (content := cache.read(_KIND, key)) is not None]
    layers = _layers({number: result for number, result in enumerate(kept)}, limits, target)
    return list(islice(layers, target.search.candidates // 2))


def _layers(results: dict[int, Result], limits: Limits, target: Target) -> Iterator[Result]:
    while results:
        numbered = [result.candidate.model_copy(update={"id": number}) for number, result in results.items()]
        members = judge(numbered, target.metrics, limits).members
        if not members:
            return
        for member in members:
            yield results.pop(member.id)
