"""One search from start to end: checked, run, tracked, plotted and written down."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoshrink.backends.measuring import fingerprint
from autoshrink.backends.registry import backend
from autoshrink.core import DeviceError, Encoding, Front, Refusal, Target
from autoshrink.devices.identity import difference
from autoshrink.devices.registry import device
from autoshrink.search.cache import Cache
from autoshrink.search.database import Database, opened
from autoshrink.search.disk import enough_room
from autoshrink.search.engine import Again, search, search_again
from autoshrink.search.places import Places, StorageGone
from autoshrink.search.pulse import RayGone
from autoshrink.search.report import load_front, report
from autoshrink.search.reuse import Reuse
from autoshrink.search.session import Session
from autoshrink.search.store import Store
from autoshrink.search.watcher import Silent, Watcher
from autoshrink.search.work import workload_of
from autoshrink.search.workers import Pool
from autoshrink.service.report import write_report
from autoshrink.techniques.registry import check_space, draw
from autoshrink.tracking.tracker import Tracker

__all__ = ["Finished", "check", "load_front", "run"]


@dataclass(frozen=True)
class Finished:
    """What a search left behind."""

    store: Store
    front: Front
    document: dict[str, Any]
    plots: tuple[Path, ...]
    report: Path
    tracked: str
    """Where MLflow has it, or why it doesn't."""
    interrupted: bool


def check(target: Target) -> None:
    """Check everything about a target that can be checked before any work: space, runtime, device, model and data.

    Raises:
        SpecError: an unknown technique, setting, backend or option, a space that the device can't execute, or a model,
            weights, data or metric that can't be used.
        BackendUnavailable: the runtime is not installed.
    """
    check_space(target.search.space)
    runtime = backend(target.hardware.backend)
    runtime.require(target.hardware)
    device(target.hardware)
    try:
        draw(target.search.space, _First(), lambda encoding: runtime.accepts(encoding, target.hardware))
    except Refusal as refusal:
        raise target.source.error(("search", "space"), f"{target.hardware.name} can't execute it: {refusal}") from None
    workload_of(target)


def run(
    target: Target,
    store: Store,
    *,
    address: str | None = None,
    watcher: Watcher | None = None,
    uri: str | None = None,
    again: Again | None = None,
    fresh: bool = False,
    places: Places | None = None,
) -> Finished:
    """Run or resume a search; Ctrl-C ends it cleanly with what is finished.

    Args:
        target: what to search for; the store keeps it.
        store: the search's folder, new or from earlier.
        address: a Ray cluster's; by default the work is done on this machine.
        watcher: is told of every step.
        uri: MLflow's tracking address, by default MLflow's own default.
        again: what it begins with, where it goes on from earlier searches.
        fresh: whether nothing counts that was measured on this device before.
        places: where artifacts and study are, in place of what the environment says.

    Raises:
        AutoshrinkError: as `autoshrink.search.engine.search` says.
    """
    check(target)
    runtime = backend(target.hardware.backend)

    def accepts(encoding: Encoding) -> str:
        return runtime.accepts(encoding, target.hardware)

    on_with = f"go on with: autoshrink search --resume {store.name}"
    with enough_room(store.folder, on_with), store.locked(), _study(store, places) as database:
        tracker = Tracker(store.folder, target, store.name, uri)
        workload = workload_of(target)
        store.write_json("workload.json", {"key": workload.key})
        cache = Cache(store.folder.parent, workload.key)
        cache.trim()
        pool = Pool(target, target.search.workers, address)
        try:
            about = fingerprint(runtime, pool.place, target.hardware)
            _same_device(store, about)
            store.write_json("hardware.json", about)
            pool.fingerprint = about["device"]
            reuse = Reuse(cache, about["key"], target.search.seed, fresh=fresh)
            session = Session(target, store, reuse, pool, tracker, watcher or Silent(), database)
            front, interrupted = _search(session, accepts, again)
        finally:
            pool.close()
        document = report(store, target, front, session.clock.totals())
        store.write_json("report.json", document)
        plots = _plots(target, store, front)
        reports = [store.folder / "report.html", store.folder / "report.md"]
        write_report(store, target, front, document, reports, picture=plots[0], thorough=False)
        example = {str(number): array for number, array in enumerate(workload.example.arrays())}
        tracked = tracker.finish(front, store.artifact_folder, [*plots, *reports], example)
    return Finished(store, front, document, plots, reports[0], tracked, interrupted)


@contextmanager
def _study(store: Store, places: Places | None) -> Iterator[Database | None]:
    """Settle where a search keeps things, and hold its study."""
    settled = store.settle(places or Places.given())
    with opened(settled.study, settled.study_name or store.name) as database:
        yield database


def _search(session: Session, accepts: Callable[[Encoding], str], again: Again | None) -> tuple[Front, bool]:
    """Search; the front, and whether Ctrl-C ended it."""
    try:
        return search(session, accepts) if again is None else search_again(session, accepts, again), False
    except KeyboardInterrupt:
        if session.tally is None:
            raise
        return session.front(), True
    except (RayGone, StorageGone) as error:
        raise DeviceError(f"{error}; go on with: autoshrink search --resume {session.store.name}") from None
    finally:
        session.keep_time()


def _same_device(store: Store, about: Mapping[str, Any]) -> None:
    """Refuse to go on where figures would be compared that another device or other versions gave.

    Raises:
        DeviceError: they are not those that the search began with.
    """
    before = store.read_json("hardware.json")
    if before is None or before["key"] == about["key"] or not store.candidates():
        return
    kinds = ("device", "versions")
    differing = "; ".join(filter(None, (difference(before[kind], about[kind]) for kind in kinds))) or "its profile"
    raise DeviceError(
        f"{store.name} was measured on a device that is no longer the same, so that figures can't be compared: "
        f"{differing}. Begin a new search; what was trained serves it, too"
    )


def _plots(target: Target, store: Store, front: Front) -> tuple[Path, ...]:
    from autoshrink.tracking.plot import plot_front  # matplotlib and plotly: a second that only the end needs

    png, html = store.folder / "front.png", store.folder / "front.html"
    plot_front(front, front.judged[0].candidate, f"{target.name} on {target.hardware.name}", png, html)
    return png, html


class _First:
    """Chooses the first of everything: whether anything can be drawn at all."""

    def choice(self, name: str, values: Any) -> Any:
        return values[-1] if name.endswith(".use") else values[0]

    def range(self, name: str, interval: Any) -> Any:
        return interval.low
