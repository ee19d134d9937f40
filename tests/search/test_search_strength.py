"""Bisection finds the strength at which the accuracy reaches the floor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoshrink.core import Space
from autoshrink.core.recipe import Scalar
from autoshrink.search.strength import Strength

PRUNING = {"kind": "channel_pruning", "ratio": {"low": 0.1, "high": 0.9}, "criterion": ["l2", "l1"]}
RANK = {"kind": "low_rank", "rank_ratio": {"low": 0.2, "high": 0.8}}


def strength(*steps: dict[str, object]) -> Strength:
    return Strength(Space.model_validate({"steps": steps}))


@given(edge=st.floats(0.11, 0.89), begin=st.floats(0.1, 0.9))
def test_it_closes_in_on_the_edge(edge: float, begin: float) -> None:
    search = strength(PRUNING)
    params: dict[str, Scalar] | None = {"channel_pruning.ratio": begin, "channel_pruning.criterion": "l1"}
    tried = []
    while params is not None:
        assert params["channel_pruning.criterion"] == "l1"
        ratio = float(params["channel_pruning.ratio"] or 0)
        assert 0.1 <= ratio <= 0.9
        tried.append(ratio)
        params = search.next(params, borne=ratio <= edge)
    assert len(tried) <= 7
    borne = max([ratio for ratio in tried if ratio <= edge], default=0.1)
    assert edge - borne < 0.04 * 0.8 + 1e-9


def test_less_rank_is_stronger() -> None:
    params = strength(RANK).next({"low_rank.rank_ratio": 0.5}, borne=True)
    assert params == {"low_rank.rank_ratio": pytest.approx(0.35)}
    params = strength(RANK).next({"low_rank.rank_ratio": 0.5}, borne=False)
    assert params == {"low_rank.rank_ratio": pytest.approx(0.65)}


def test_each_set_of_techniques_has_its_own_edge() -> None:
    search = strength(PRUNING, RANK)
    assert search.next({"channel_pruning.ratio": 0.5}, borne=True) is not None
    both = search.next({"channel_pruning.ratio": 0.3, "low_rank.rank_ratio": 0.5}, borne=True)
    assert both == {"channel_pruning.ratio": pytest.approx(0.6), "low_rank.rank_ratio": pytest.approx(0.35)}


def test_what_is_known_already_says_nothing() -> None:
    search = strength(PRUNING)
    assert search.next({"channel_pruning.ratio": 0.5}, borne=True) is not None
    assert search.next({"channel_pruning.ratio": 0.4}, borne=True) is None
    assert search.next({"channel_pruning.ratio": 0.52}, borne=False) is None  # the interval is narrow
    assert search.next({"channel_pruning.ratio": 0.8}, borne=False) is None
    # What is borne after all, as another number format is, opens the interval again.
    assert search.next({"channel_pruning.ratio": 0.7}, borne=True) == {"channel_pruning.ratio": pytest.approx(0.8)}


def test_steps_and_whole_numbers_are_kept() -> None:
    stepped = strength({"kind": "channel_pruning", "ratio": {"low": 0.1, "high": 0.9, "step": 0.1}})
    assert stepped.next({"channel_pruning.ratio": 0.6}, borne=True) == {"channel_pruning.ratio": pytest.approx(0.7)}


def test_what_has_no_strength_is_left_alone() -> None:
    search = strength(PRUNING, {"kind": "quantization"})
    assert search.next({"quantization.format": "static int8"}, borne=True) is None
