"""The live view of a search: on a terminal a panel that is redrawn, elsewhere one line for each candidate."""

from __future__ import annotations

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from autoshrink.console.tables import short_recipe, show_metric
from autoshrink.core import Metric, Tally
from autoshrink.core.front import accuracy_of
from autoshrink.search.watcher import Progress

__all__ = ["LiveView"]


class LiveView:
    """Draws the progress of a search; use it as a context."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        self._shown: int | None = None
        self._stage = ""
        self._reach = ""

    def __enter__(self) -> LiveView:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def update(self, progress: Progress) -> None:
        """Draw where the search is."""
        if progress.reach != self._reach:
            self._reach = progress.reach
            self._console.print(f"Without training, corners of the space cost {self._reach}", highlight=False)
        if self._live:
            self._live.update(_panel(progress))
            return
        latest = progress.latest
        if latest is not None and latest.candidate.id != self._shown and progress.stage == "searching":
            self._shown = latest.candidate.id
            self._console.print(_line(progress), highlight=False, soft_wrap=True)
        elif progress.stage.split(" (")[0] != self._stage:
            self._stage = progress.stage.split(" (")[0]
            self._console.print(f"{_clock(progress.elapsed)} {self._stage}", highlight=False)


def _panel(progress: Progress) -> Group:
    total = max(progress.wanted, 1)
    head = Table.grid(padding=(0, 2))
    left = "" if progress.left is None else f"about {_clock(progress.left)} left"
    head.add_row(
        Text(progress.stage, style="bold"),
        ProgressBar(total=total, completed=progress.finished, width=30),
        f"{progress.finished} of {progress.wanted} candidates",
        f"{_clock(progress.elapsed)} gone",
        left,
    )
    lines: list[object] = [head]
    if progress.tally is not None:
        lines.append(Text(_counts(progress, progress.tally), style="dim"))
        lines.append(_best(progress.tally))
    if progress.latest is not None and progress.latest.candidate.id:
        lines.append(Text(f"latest: {_latest(progress)}", style="dim", overflow="ellipsis", no_wrap=True))
    return Group(*lines)  # type: ignore[arg-type]


def _line(progress: Progress) -> str:
    left = "" if progress.left is None else f", about {_clock(progress.left)} left"
    return f"{_clock(progress.elapsed)} {progress.finished}/{progress.wanted}{left}: {_latest(progress)}"


def _latest(progress: Progress) -> str:
    item = progress.latest
    if item is None or progress.tally is None:
        return ""
    candidate = item.candidate
    what = "the original model" if candidate.id == 0 else short_recipe(candidate)
    if candidate.outcome != "measured":
        return f"{what}: {item.state}, {(item.reason.strip().splitlines() or [''])[-1]}"
    score = accuracy_of(candidate)
    figures = [f"{score:.2%}" if score is not None and 0 <= score <= 1 else f"{score:.4g}"]
    figures += [show_metric(candidate.metrics[name]) for name in progress.tally.objectives if name in candidate.metrics]
    return f"{what}: {item.state.replace('_', ' ')}, {', '.join(figures)}"


def _counts(progress: Progress, tally: Tally) -> str:
    shown = [f"{count} {state.replace('_', ' ')}" for state, count in sorted(tally.counts.items())]
    return ", ".join([*shown, f"{progress.running} running", f"hypervolume {tally.hypervolume:.4f}"])


def _best(tally: Tally) -> Table:
    table = Table.grid(padding=(0, 2))
    for objective in tally.objectives:
        best = tally.best(objective)
        if best is None:
            table.add_row(f"best {objective} within the limits", "none yet", "")
            continue
        figure = tally.figure(best, objective)
        value = show_metric(figure) if isinstance(figure, Metric) else f"{figure:.2%}"
        table.add_row(f"best {objective} within the limits", value, f"candidate {best.id}")
    return table


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
