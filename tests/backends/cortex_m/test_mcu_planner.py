"""Offsets in the arena: what is needed at once never shares a byte, but by permission."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from autoshrink.backends.cortex_m.planner import ALIGNMENT, Buffer, Overlap, plan

BUFFERS = st.lists(
    st.builds(
        lambda size, first, length: Buffer(size, first, first + length),
        st.integers(1, 500), st.integers(0, 9), st.integers(0, 4),
    ),
    min_size=1,
    max_size=12,
)  # fmt: skip


def shared(a: Buffer, b: Buffer, at: int, other: int) -> bool:
    together = a.first <= b.last and b.first <= a.last
    return together and at < other + b.size and other < at + a.size


@settings(max_examples=60, deadline=None)
@given(BUFFERS, st.data())
def test_buffers_share_memory_only_where_they_may(buffers, data):
    index = st.integers(0, len(buffers) - 1)
    overlaps = data.draw(st.lists(st.builds(Overlap, index, index, st.none() | st.integers(0, 100)), max_size=4))
    overlaps = list({frozenset((o.given, o.made)): o for o in overlaps if o.given != o.made}.values())
    made = plan(buffers, overlaps)
    allowed = {(o.given, o.made): o.lead for o in overlaps}
    assert made == plan(buffers, overlaps)
    for i, (a, at) in enumerate(zip(buffers, made.offsets, strict=True)):
        assert at % ALIGNMENT == 0
        assert at + a.size <= made.size
        for j, (b, other) in enumerate(zip(buffers, made.offsets, strict=True)):
            if i == j or not shared(a, b, at, other):
                continue
            given, result = (i, j) if (i, j) in allowed else (j, i)
            assert (given, result) in allowed
            assert buffers[given].last == buffers[result].first
            lead, distance = allowed[given, result], made.offsets[given] - made.offsets[result]
            assert distance == 0 if lead is None else distance >= lead


def test_buffers_of_different_times_share_all_memory():
    assert plan([Buffer(100, step, step) for step in range(6)]).size == 112


def test_a_chain_of_operators_in_place_needs_one_buffer():
    chain = [Buffer(1000, step, step + 1) for step in range(8)]
    in_place = [Overlap(i, i + 1, None if i % 2 else 0) for i in range(7)]
    assert plan(chain, in_place).size == 1008
    assert plan(chain).size == 2 * 1008


def test_an_output_that_runs_ahead_of_its_input_starts_before_it():
    made = plan([Buffer(1600, 0, 1), Buffer(1600, 1, 2)], [Overlap(0, 1, 90)])
    assert made.offsets[0] - made.offsets[1] == 96
    assert made.size == 1696


def test_an_input_that_is_needed_later_is_kept():
    assert plan([Buffer(64, 0, 2), Buffer(64, 1, 2)], [Overlap(0, 1, 0)]).size == 128


def test_nothing_needs_nothing():
    assert plan([]).size == 0
