"""Where every buffer of an inference lies in one static arena.

Buffers that are never needed at the same time share memory. An operator that is done with its input's first bytes when
it writes its output's may also write over the input while it runs.

References:
    Lin et al., "MCUNetV2: Memory-Efficient Patch-based Inference for Tiny Deep Learning", 2021.
    Lee and Pisarchyk, "Efficient Memory Management for Deep Neural Net Inference", 2020 (greedy by size).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["ALIGNMENT", "Buffer", "Overlap", "Plan", "plan"]

ALIGNMENT = 16
_SHUFFLES = 40


@dataclass(frozen=True)
class Buffer:
    """Bytes that are needed from one step to another, both included."""

    size: int
    first: int
    last: int


@dataclass(frozen=True)
class Overlap:
    """How the output of a step may lie over an input that no later step needs; both are indices of buffers."""

    given: int
    made: int
    lead: int | None
    """The output may start this many bytes or more before the input; nothing: only at the very same address."""


@dataclass(frozen=True)
class Plan:
    """An offset for each buffer, and the size of the arena."""

    offsets: tuple[int, ...]
    size: int


def plan(buffers: Sequence[Buffer], overlaps: Sequence[Overlap] = ()) -> Plan:
    """Place buffers, the largest first, and in some other orders if that is not optimal.

    Args:
        buffers: in any order.
        overlaps: permissions; one whose input is needed after the step, or that joins no neighbors, has no effect.

    Returns:
        The smallest arena found; the same at every call.
    """
    allowed = {
        frozenset((overlap.given, overlap.made)): overlap
        for overlap in overlaps
        if buffers[overlap.given].last == buffers[overlap.made].first
        and buffers[overlap.given].first < buffers[overlap.made].first
    }
    least = _lower_bound(buffers, list(allowed.values()))
    shuffler, order = random.Random(0), sorted(range(len(buffers)), key=lambda i: (-buffers[i].size, -buffers[i].first))
    best = _place(buffers, allowed, order)
    for attempt in range(_SHUFFLES):
        if best.size <= least:
            break
        if attempt == 0:
            order.sort(key=lambda i: -buffers[i].first)
        else:
            shuffler.shuffle(order)
        best = min(best, _place(buffers, allowed, order), key=lambda found: found.size)
    return best


def _place(buffers: Sequence[Buffer], allowed: dict[frozenset[int], Overlap], order: Sequence[int]) -> Plan:
    offsets: dict[int, int] = {}
    for index in order:
        buffer = buffers[index]
        forbidden, candidates = [], [0]  # open intervals of offsets, and where one may start
        for other, offset in offsets.items():
            neighbor = buffers[other]
            if neighbor.last < buffer.first or buffer.last < neighbor.first:
                continue
            low, high = offset - buffer.size, offset + neighbor.size
            overlap = allowed.get(frozenset((index, other)))
            if overlap is None:
                forbidden.append((low, high))
            elif overlap.lead is None:
                forbidden += [(low, offset), (offset, high)]
                candidates.append(offset)
            elif overlap.made == index:
                forbidden.append((offset - overlap.lead, high))
                candidates.append((offset - overlap.lead) // ALIGNMENT * ALIGNMENT)
            else:
                forbidden.append((low, offset + overlap.lead))
        candidates += [-(-high // ALIGNMENT) * ALIGNMENT for _, high in forbidden]
        offsets[index] = next(
            at for at in sorted(candidates) if at >= 0 and not any(low < at < high for low, high in forbidden)
        )
    size = max((offsets[i] + buffer.size for i, buffer in enumerate(buffers)), default=0)
    return Plan(tuple(offsets[i] for i in range(len(buffers))), -(-size // ALIGNMENT) * ALIGNMENT)


def _lower_bound(buffers: Sequence[Buffer], overlaps: Sequence[Overlap]) -> int:
    """Give the largest sum of what is needed at once, where each output lies over its inputs as far as it may."""
    most = 0
    for step in {buffer.first for buffer in buffers}:
        live = sum(buffer.size for buffer in buffers if buffer.first <= step <= buffer.last)
        for made in {overlap.made for overlap in overlaps if buffers[overlap.made].first == step}:
            live -= sum(
                min(buffers[overlap.given].size, max(0, buffers[made].size - (overlap.lead or 0)))
                for overlap in overlaps
                if overlap.made == made
            )
        most = max(most, live)
    return most
