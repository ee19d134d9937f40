"""What the user takes home of one candidate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from autoshrink.backends.registry import backend
from autoshrink.core import AutoshrinkError, Candidate, SpecError, Target

if TYPE_CHECKING:
    from autoshrink.models.splits import Split

__all__ = ["deliver"]


def deliver(target: Target, candidate: Candidate, folder: Path, to: Path) -> list[str]:
    """Write a candidate's deployable files, as its backend delivers them.

    Args:
        target: what it was searched for.
        candidate: one that has an artifact.
        folder: holds the artifact's files.
        to: where the files go; it is made if need be.

    Returns:
        The files that were written, as paths inside ``to``.

    Raises:
        AutoshrinkError: the candidate has no artifact.
        BackendUnavailable: a package that writes the files is not installed.
    """
    if candidate.artifact is None:
        raise AutoshrinkError(f"candidate {candidate.id} has no artifact: {candidate.outcome}")

    def example() -> Split | None:
        from autoshrink.search.work import workload_of  # the user's code: only where an example is wanted

        try:
            return workload_of(target).example
        except SpecError:
            return None  # model or data are gone since the search

    to.mkdir(parents=True, exist_ok=True)
    runtime = backend(target.hardware.backend)
    return runtime.deliver(folder, candidate.artifact, target.hardware, candidate, to, example)
