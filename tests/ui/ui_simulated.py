"""Searches that were never run: their figures are drawn, and the real tracker sends them."""

from __future__ import annotations

import random
from pathlib import Path

from autoshrink.core import Accuracy, Candidate, Limits, Measurement, Metric, Recipe, Source, Target

LIMITS = Limits(
    floor=0.9, test_floor=0.895, costs={"latency": 40e-6, "size": 100e3}, baseline={"latency": 100e-6, "size": 400e3}
)


def target(name: str = "simulated", hardware: str = "a simulated CPU") -> Target:
    return Target.parse(
        {
            "model": "model.py:build",
            "data": "data.py:splits",
            "accuracy": {"floor": 0.9},
            "hardware": {"name": hardware, "kind": "cpu", "backend": "onnxruntime"},
            "budget": {"latency": "40 us", "size": "100 kB"},
            "search": {"space": {"steps": [{"kind": "low_rank", "rank_ratio": {"low": 0.1, "high": 0.9}}]}},
        },
        Source(f"{name}.yaml", folder=Path.cwd()),
    )


def candidate(number: int, chance: random.Random, kind: str = "low_rank") -> Candidate:
    """Draw one candidate; some are refused or stopped, some are equal to others, some have no test accuracy."""
    steps = [{"kind": kind, "rank_ratio": round(chance.uniform(0.1, 0.9), 3)}] if number else []
    recipe = Recipe.parse({"steps": steps}, Source("r"))
    fate = chance.random() if number else 1.0
    if fate < 0.1:
        return Candidate(id=number, recipe=recipe, outcome="refused", reason="there is no linear layer")
    latency, size = 10 ** chance.uniform(-5.2, -4.2), float(round(10 ** chance.uniform(3.5, 5.6), -3))
    accuracy = round(min(0.99, 0.8 + 0.06 * chance.random() + 3000 * latency), 3)
    metrics = {
        "latency": Metric(
            value=latency, unit="s", low=latency * 0.95, high=latency * chance.uniform(1, 1.2), origin="measured"
        ),
        "size": Metric.exact(size, "B"),
        "energy": Metric(value=6 * latency, unit="J", low=3 * latency, high=9 * latency, origin="modelled"),
    }
    if fate < 0.2:
        measured = Measurement(metrics={"latency": metrics["latency"]})
        return Candidate(id=number, recipe=recipe, outcome="stopped", reason="too slow", measurement=measured)
    test = accuracy - 0.004 if fate > 0.6 else None
    return Candidate(
        id=number,
        recipe=recipe,
        outcome="measured",
        measurement=Measurement(metrics=metrics),
        accuracy=Accuracy(validation=accuracy, test=test),
        facts={"macs": float(chance.randrange(10**6))},
        seconds={"train": chance.random()},
    )


def candidates(count: int, seed: int = 0) -> list[Candidate]:
    chance = random.Random(seed)
    return [candidate(number, chance) for number in range(count)]
