"""The commands that go on with a search when the hardware changes: once, and on a schedule."""

from __future__ import annotations

import time as clock
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autoshrink.console.commands import INTERRUPTED, NO_FRONT
from autoshrink.console.given import parse_option, write_json
from autoshrink.console.live import LiveView
from autoshrink.console.printing import PlainConsole, plain_console
from autoshrink.console.tables import print_front, short_recipe, show_metric
from autoshrink.core import COSTS, Candidate, Front, SpecError, Target
from autoshrink.core.front import accuracy_of
from autoshrink.search.store import store_root

if TYPE_CHECKING:
    from autoshrink.service.reoptimize import Reoptimized

__all__ = ["reoptimize", "watch"]

_USUALLY = "6h"


def reoptimize(
    path: Path, *, time: str | None, force: bool, webhook: str | None, store: str | None, json: Path | None
) -> int:
    """Search again where the hardware changed, and show the old and the new front side by side."""
    target, root = Target.read(path), store_root(store)
    seconds = parse_option("--time", time) if time else None
    from autoshrink.service.announce import announce, check_webhook
    from autoshrink.service.reoptimize import reoptimize as run

    address = check_webhook(webhook) if webhook else None
    console = plain_console(json)
    with LiveView(console) as view:
        done = run(target, root, time=seconds, force=force, watcher=view)
    if done.finished is not None and done.finished.interrupted:
        console.print(f"Interrupted; go on with: autoshrink reoptimize {path}")
        return INTERRUPTED
    untold = announce(root, target, address)
    write_json({**done.document, "untold": untold}, json)
    if done.finished is None:
        console.print(
            f"Nothing has changed since {done.earlier.name}: the same hardware, and no registered model breaks a limit."
            if done.before.members
            else f"Nothing has changed since {done.earlier.name}, where no candidate met the limits."
        )
    else:
        _show(console, done)
    for failure in untold:
        console.print(f"Not told yet, the next visit tries again: {failure}", highlight=False, soft_wrap=True)
    return 0 if done.finished is None or done.finished.front.members else NO_FRONT


def watch(
    paths: Sequence[Path], *, every: str | None, cron: str | None, once: bool, webhook: str | None, store: str | None
) -> int:
    """Visit targets on a schedule, or once each."""
    from autoshrink.service.announce import check_webhook
    from autoshrink.service.schedule import Schedule
    from autoshrink.service.watch import Watch, visit

    if once and (every or cron):
        raise SpecError("--once visits now: leave --every and --cron to whoever calls it")
    if every and cron:
        raise SpecError("give either --every or --cron")
    schedule = Schedule(cron=cron) if cron else Schedule(every=parse_option("--every", every or _USUALLY))
    schedule.trigger()
    for path in paths:
        Target.read(path)  # a mistake shows now, and not at three in the morning
    environment = {"AUTOSHRINK_WEBHOOK": check_webhook(webhook)} if webhook else {}
    root, console = store_root(store).resolve(), PlainConsole(highlight=False, soft_wrap=True)

    def say(words: str) -> None:
        console.print(f"{clock.strftime('%Y-%m-%d %H:%M:%S')} {words}")

    if once:
        if not paths:
            raise SpecError("name a target's file, such as: autoshrink watch target.yaml --once")
        return max([visit(path.resolve(), root, say, environment=environment) for path in paths])
    return Watch(root, say, environment=environment).run(paths, schedule)


def _show(console: Console, done: Reoptimized) -> None:
    assert done.finished is not None
    name, before = done.finished.store.name, done.earlier.name
    console.print(Text.assemble("Search ", (name, "bold"), f" goes on from {before}:"))
    for reason in done.document["reasons"]:
        console.print(f"  {reason}", highlight=False, soft_wrap=True)
    front = done.finished.front
    if front.members:
        console.print(_side_by_side(done.before, front))
    else:
        print_front(console, front, title=f"Front of {done.finished.store.name}", confirmed=True)
    console.print(
        f"Hypervolume, each within its own limits: {done.before.hypervolume:.4f} then, {front.hypervolume:.4f} now"
    )
    for item in done.document["registered"]:
        console.print(_promoted(item), highlight=False, soft_wrap=True)
    console.print(f"MLflow: {done.finished.tracked}", highlight=False, soft_wrap=True)


def _promoted(item: dict[str, Any]) -> str:
    if item["version"] is None:
        where = f"the alias {item['alias']!r} of {item['model']!r} stays on" if item["alias"] else f"{item['model']!r}:"
        return f"No candidate keeps the limits: {where} version {item['before']}"
    named = f"{item['model']}@{item['alias']}" if item["alias"] else item["model"]
    return f"{named}: version {item['version']}, candidate {item['candidate']}; it was version {item['before']}"


def _side_by_side(before: Front, after: Front) -> Table:
    """Lay out both fronts, a recipe a line: what it was, and what it is."""
    table = Table(title="Front, then and now", title_justify="left", box=None, pad_edge=False, header_style="bold")
    costs = [name for name in COSTS if name in after.objectives or name in after.limits.costs]
    table.add_column("id", justify="right")
    for name in ("accuracy", *costs):
        table.add_column(f"{name} then", justify="right", style="dim")
        table.add_column("now", justify="right")
    table.add_column("recipe", overflow="fold")
    old, new = ({member.key: member for member in front.members} for front in (before, after))
    measured = {item.candidate.key: item for item in after.judged}
    for key in [*new, *(key for key in old if key not in new)]:
        then, now = old.get(key), new.get(key)
        cells: list[str] = []
        for name in ("accuracy", *costs):
            cells += [_cell(then, name), _cell(now, name)]
        member = now or then
        assert member is not None
        gone = f"{measured[key].state.replace('_', ' ')} now" if key in measured else "not measured now"
        what = "the original model" if not member.recipe.steps else short_recipe(member)
        table.add_row(str(now.id) if now else "–", *cells, what if now else f"{what} ({gone})")
    return table


def _cell(candidate: Candidate | None, name: str) -> str:
    if candidate is None:
        return "–"
    if name == "accuracy":
        score = accuracy_of(candidate)
        return "?" if score is None else f"{score:.2%}" if 0 <= score <= 1 else f"{score:.4g}"
    metric = candidate.metrics.get(name)
    return show_metric(metric) if metric is not None else "?"
