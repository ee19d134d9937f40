"""The browser's front is the package's: the same rules, in two languages."""

from __future__ import annotations

import json
import random

import pytest
from ui_looking import Looker, Searched, Served
from ui_simulated import LIMITS, candidates

from autoshrink.core import Limits, judge
from autoshrink.tracking.points import point_of
from autoshrink.tracking.view.progress import figures_so_far, history

OBJECTIVES = ("accuracy", "latency", "size")
JUDGE = """async ([points, objectives, limits, sliders]) => {
  const { best, judge, knee, tightened } = await import("/autoshrink/static/judge.js");
  const figure = ([value, low, high, origin]) => ({ value, low, high, origin });
  const each = (given, change) => Object.fromEntries(Object.entries(given).map(([name, one]) => [name, change(one)]));
  const candidates = points.map((point) => ({ ...point, metrics: each(point.metrics, figure) }));
  const front = judge(candidates, objectives, tightened(limits, sliders));
  return {
    states: Object.fromEntries(candidates.map((c) => [c.id, c.state])), front: front.map((c) => c.id),
    knee: knee(front, objectives)?.id ?? null,
    best: Object.fromEntries(objectives.map((o) => [o, best(front, o)?.id ?? null])),
  };
}"""


@pytest.mark.parametrize("seed", range(6))
def test_the_page_judges_as_the_package_does(served: Served, searched: Searched, looker: Looker, seed: int) -> None:
    chance = random.Random(seed)
    found = candidates(400, seed)
    sliders = {
        "accuracy": chance.uniform(0.88, 0.95),
        "latency": 10 ** chance.uniform(-5, -4.4),
        "energy": 10 ** chance.uniform(-4, -3.5),
    }
    chosen = {name: value for name, value in sliders.items() if chance.random() < 0.6}
    narrowed = Limits(
        floor=max(LIMITS.floor, chosen.get("accuracy", 0)),
        test_floor=max(LIMITS.test_floor or 0, chosen.get("accuracy", 0)),
        costs={
            **LIMITS.costs,
            **{name: min(value, LIMITS.costs.get(name, value)) for name, value in chosen.items() if name != "accuracy"},
        },
        baseline=LIMITS.baseline,
    )
    front = judge(found, OBJECTIVES, narrowed)
    page = looker.open(f"{served.view}/")
    points = [json.loads(point_of(one)) for one in found]
    told = page.evaluate(JUDGE, [points, list(OBJECTIVES), LIMITS.model_dump(), chosen])
    assert told["front"] == [member.id for member in front.members]
    assert told["states"] == {str(item.candidate.id): item.state for item in front.judged}
    knee = front.knee()
    assert told["knee"] == (knee.id if knee else None)
    for objective in OBJECTIVES:
        best = front.best(objective)
        assert told["best"][objective] == (best.id if best else None)


def test_the_history_ends_with_the_front_s_hypervolume() -> None:
    found = candidates(300, 3)
    front = judge(found, OBJECTIVES, LIMITS)
    brief = {"objectives": OBJECTIVES, "limits": LIMITS.model_dump()}
    points = [(1000 + one.id, point_of(one)) for one in found]
    random.Random(0).shuffle(points)
    trace = history(brief, [*points, (5, "{}"), (6, '{"id": 1, "metrics": 3}')])
    assert trace[-1][1:] == (299, pytest.approx(front.hypervolume))
    assert [volume for _, _, volume in trace] == sorted(volume for _, _, volume in trace)
    figures = figures_so_far(brief, [text for _, text in points])
    assert figures["front"] == len(front.members)
    assert figures["hypervolume"] == pytest.approx(front.hypervolume)
    assert figures["best.latency"] == front.best("latency").metrics["latency"].value
